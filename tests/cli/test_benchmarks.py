"""The commands about benchmarks: evaluate --benchmark, score, benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import get_args

import pytest
from tests.evaluate.benchmarks.conftest import picture, write_lines
from tests.evaluate.benchmarks.stand_in import StandIn

from mustela.cli.main import main
from mustela.cli.score import SCALES
from mustela.regions import Scale


@pytest.fixture
def server() -> Iterator[StandIn]:
    found = StandIn()
    thread = Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    root = tmp_path / "pope"
    picture(root / "COCO_val2014_1.jpg")
    lines = [
        {"question_id": n, "image": "COCO_val2014_1.jpg", "text": f"Is there a {n}?", "label": label}
        for n, label in enumerate(("yes", "no"), start=1)
    ]
    write_lines(root / "coco_pope_random.json", lines)
    return root


def test_a_server_is_evaluated_and_its_answers_scored_again(
    pope: Path, tmp_path: Path, server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reply = lambda request: "Yes, there is."
    out = tmp_path / "out"
    options = ["--benchmark", "pope", "--root", str(pope), "--split", "random", "--out", str(out)]
    assert main(["evaluate", server.address, "--endpoint_model", "m", *options]) == 0
    printed = capsys.readouterr().out
    assert "POPE, random: 2 questions" in printed
    assert "the first question: Is there a 1?" in printed
    assert "accuracy                      50.0 %" in printed
    first = json.loads((out / "metrics.json").read_text())
    assert first["figures"]["recall"]["value"] == 1.0
    (out / "metrics.json").unlink()
    assert main(["score", str(out / "predictions.jsonl"), "--benchmark", "pope"]) == 0
    again = json.loads((out / "metrics.json").read_text())
    assert again == {**first, "split": "as asked"}


def test_answers_from_elsewhere(pope: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.jsonl"
    write_lines(file, [{"id": "random-2", "answer": "No"}, {"id": "random-9", "answer": "No"}])
    score = ["score", str(file), "--benchmark", "pope", "--root", str(pope), "--split", "random"]
    assert main([*score, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "ids that don't add up: 1 missing, 1 unknown" in printed
    assert main([*score, "--out", str(tmp_path / "out"), "--prompt", "{question} Yes or no?"]) == 0
    assert "the first question: Is there a 1? Yes or no?" in capsys.readouterr().out
    assert main([*score, "--strict"]) == 2
    assert "1 without an answer (such as 'random-1'), 1 of unknown" in capsys.readouterr().err
    assert main(["score", str(file), "--benchmark", "pope"]) == 2
    assert "--root" in capsys.readouterr().err


def test_the_list_and_the_check_of_a_folder(
    pope: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmarks"]) == 0
    *listed, _ = capsys.readouterr().out.splitlines()
    assert {line.split("  ")[0] for line in listed} >= {"refcoco+", "pope"}
    assert all(len([part for part in line.split("  ") if part]) == 3 for line in listed)
    questions = tmp_path / "questions.jsonl"
    check = ["benchmarks", "pope", "--root", str(pope), "--split", "random", "--questions", str(questions)]
    assert main(check) == 0
    printed = capsys.readouterr().out
    assert "licence:  MIT" in printed
    assert "random: 2 questions about 1 pictures, 0 of them missing" in printed
    assert len(questions.read_text().splitlines()) == 2
    assert main([*check, "--prompt", "{question} Yes or no?"]) == 0
    assert "Is there a 1? Yes or no?" in questions.read_text()
    (pope / "COCO_val2014_1.jpg").rename(pope / "COCO_val2014_2.jpg")
    assert main(check) == 2
    assert "the first missing picture: COCO_val2014_1.jpg" in capsys.readouterr().out
    assert main(["benchmarks", "pope", "--root", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "either --data FILE or --benchmark NAME"),
        (["--benchmark", "pope", "--data", "x.json"], "either --data FILE or --benchmark NAME"),
        (["--benchmark", "pope"], "needs --root"),
        (["--benchmark", "vqa", "--root", "."], "there is no benchmark 'vqa'"),
        (["--benchmark", "dlc_bench", "--root", "."], "needs a judge"),
        (["--benchmark", "pope", "--root", "ROOT", "--split", "random"], "needs --endpoint_model"),
        (["--data", "x.json", "--limit", "0"], "--limit is 0"),
        (
            ["--benchmark", "pope", "--root", "ROOT", "--split", "random", "--prompt", "{foo} {question}"],
            "there is no field {foo} here. Known: {question}.",
        ),
    ],
)
def test_mistakes(pope: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(pope) if option == "ROOT" else option for option in options]
    assert main(["evaluate", "http://localhost:1/v1", *given]) == 2
    assert message in capsys.readouterr().err


def test_answers_that_nobody_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        "none",
        "[100, 200, 300]",
        "(764,25),(1659,1)",
        "(987,369),(10825,370),(1141,760)",
        "[1e400,0,1,1]",
    ]
    item = {
        "kind": "grounding",
        "picture": "a.jpg",
        "image_wh": [640, 480],
        "question": "Where?",
        "regions": [],
    }
    item |= {"reference": "", "boxes_xyxy": [[64, 96, 192, 192]], "phrases": [""], "truth": {}, "groups": {}}
    write_lines(tmp_path / "questions.jsonl", [{**item, "id": str(n)} for n in range(10)])
    answers = [{"id": str(n), "text": texts[n % 5]} for n in range(10)]
    write_lines(tmp_path / "answers.jsonl", answers)
    assert main(["score", str(tmp_path / "answers.jsonl"), "--benchmark", "refcoco"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["figures"]["acc_50"]["value"] == 0.0
    assert metrics["parse_failures"] == 10
    assert metrics["parse_failure_rate"]["value"] == 1.0
    assert sum(metrics["details"]["parse_failure_reasons"].values()) == 10
    assert "parse_failure_rate           100.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("The dog [100, 200, 300, 400].", "bins"),
        ("(100,200),(300,400)", "bins"),
        ("<box>[[100, 200, 300, 400]]</box>", "bins"),
        ("[100.0,200.0,300.0,400.0]", "bins"),
        ("[0.1, 0.2, 0.3, 0.4]", "unit"),
        ('{\n "bbox_2d": [64, 96, 192, 192],\n "label": "x"}', "pixels"),
        ('{"box_2d": [200, 100, 400, 300], "label": "x"}', "bins_yx"),
        ("<loc0205><loc0102><loc0410><loc0307> dog", "tokens"),
    ],
)
def test_answers_of_every_style_are_read(tmp_path: Path, text: str, scale: str) -> None:
    item = {
        "kind": "grounding",
        "picture": "a.jpg",
        "image_wh": [640, 480],
        "question": "Where?",
        "regions": [],
    }
    item |= {"reference": "", "boxes_xyxy": [[64, 96, 192, 192]], "phrases": [""], "truth": {}, "groups": {}}
    write_lines(tmp_path / "questions.jsonl", [{**item, "id": "a"}])
    write_lines(tmp_path / "answers.jsonl", [{"id": "a", "text": text}])
    score = ["score", str(tmp_path / "answers.jsonl"), "--benchmark", "refcoco", "--scale", scale]
    assert main(score) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["figures"]["acc_90"]["value"] == 1.0


def test_a_scale_of_every_style_can_be_named() -> None:
    assert set(SCALES) == set(get_args(Scale))
