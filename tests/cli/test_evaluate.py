import json
import shutil
from pathlib import Path

import pytest

from mustela.cli.main import main
from mustela.data.shapes import write_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=0, val=4)
    return folder


def images_of(shapes: Path) -> Path:
    first = json.loads((shapes / "val.json").read_text())[0]["image"]
    return shapes if (shapes / first).is_file() else shapes / "images"


def test_evaluate_prints_the_numbers_and_writes_a_report(
    tiny_model_folder: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = [
        "--image_folder",
        str(images_of(shapes)),
        "--out",
        str(out),
        "--limit",
        "12",
        "--max_new_tokens",
        "4",
    ]
    arguments = [
        "evaluate",
        str(tiny_model_folder),
        "--data",
        str(shapes / "val.json"),
        "--device",
        "cpu",
        *options,
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "95 % interval" in printed
    assert f"report: {out / 'report.html'}" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["questions"]["total"] == 12
    assert {"referring_accuracy", "grounding_acc_50", "parse_failure_rate"} <= metrics.keys()
    again = tmp_path / "again"
    arguments[arguments.index(str(out))] = str(again)
    assert main([*arguments, "--compare", str(out)]) == 0
    assert (again / "compare.html").is_file()
    assert "asked of out and of again." in (again / "compare.html").read_text()

    # What can't be compared is found out before anything is asked.
    arguments[arguments.index(str(again))] = str(tmp_path / "third")
    capsys.readouterr()
    for compared, more, message in (
        (tmp_path / "nowhere", [], "there is no such folder"),
        (shapes, [], "metrics.json is missing"),
        (out, ["--limit", "11"], "1 are in one only, 0 differ"),
        (out, ["--out", str(out)], "Choose another --out"),
    ):
        assert main([*arguments, "--compare", str(compared), *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, "run"),
        ({"about": {"data": "DATA"}}, "run"),
        ({"about": {"data": "elsewhere/val.json"}}, "run/evaluation-val"),
    ],
)
def test_a_run_keeps_the_evaluation_that_it_has(
    tiny_model_folder: Path, shapes: Path, tmp_path: Path, before, expected, capsys
) -> None:
    data = shapes / "val.json"
    shutil.copytree(tiny_model_folder, tmp_path / "run" / "final")
    (tmp_path / "run" / "log.jsonl").write_text("")
    if before is not None:
        text = json.dumps(before).replace("DATA", str(data))
        (tmp_path / "run" / "evaluation.json").write_text(text)
    options = ["--image_folder", str(images_of(shapes)), "--limit", "1", "--max_new_tokens", "1"]
    command = ["evaluate", str(tmp_path / "run" / "final"), "--data", str(data), "--device", "cpu"]
    assert main([*command, *options]) == 0
    assert f"report: {tmp_path / expected / 'report.html'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--data", "nowhere.json"], "--data nowhere.json: there is no such file"),
        (["--data", __file__, "--batch_size", "0"], "at least 1"),
        (["--data", __file__, "--out", __file__], "is a file. Name a folder"),
    ],
)
def test_wrong_arguments_end_with_one_message(extra, message, capsys) -> None:
    assert main(["evaluate", "nowhere", *extra]) == 2
    assert message in capsys.readouterr().err
