"""Asking benchmarks: a tiny model, a chat server, interruptions, several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.benchmarks.stand_in import StandIn

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.benchmarks import find_benchmark, join, parse_slice, read_answers, score_benchmark
from mustela.evaluate.benchmarks.asking import Endpoint, ask_endpoint, ask_model, question_of
from mustela.evaluate.benchmarks.items_file import item_from_json, item_to_json, read_items
from mustela.evaluate.benchmarks.protocol import Item
from mustela.evaluate.chat_client import RequestError
from mustela.evaluate.predictions import read_predictions
from mustela.regions import Box, Point


def test_a_model_answers_and_the_answers_are_scored_apart(tiny, refcoco: Path, tmp_path: Path) -> None:
    benchmark = find_benchmark("refcoco")
    items = benchmark.items(refcoco)
    out = tmp_path / "out"
    ask_model(*tiny, items, root=refcoco, out_dir=out, batch_size=2, max_new_tokens=4)
    predictions = read_predictions(out / "predictions.jsonl")
    assert list(predictions) == [item.id for item in items]
    assert predictions["101-1010"].reference_boxes == ((0.0, 0.0, 50.0, 50.0),)
    assert read_items(out / "questions.jsonl") == items
    joined = join(read_items(out / "questions.jsonl"), read_answers(out / "predictions.jsonl"))
    assert joined.faults() == ""
    assert score_benchmark(benchmark, joined, split="val").metrics["questions"] == 3
    # Cut off in the middle: only what is missing is asked, and the answers are the same.
    whole = (out / "predictions.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (out / "predictions.jsonl").write_bytes(lines[0] + lines[1][:20])
    asked: list[int] = []
    ask_model(
        *tiny,
        items,
        root=refcoco,
        out_dir=out,
        batch_size=2,
        max_new_tokens=4,
        progress=lambda done, total: asked.append(done),
    )
    assert (out / "predictions.jsonl").read_bytes() == whole
    assert asked[-1] == 3
    with pytest.raises(ConfigError, match="answers of another evaluation"):
        ask_model(*tiny, items[:2], root=refcoco, out_dir=out, max_new_tokens=4)


def test_an_item_becomes_a_question() -> None:
    regions = (Box(1, 2, 3, 4), Point(5, 6))
    question = question_of(
        Item("a", "relation", "a.jpg", (10, 10), "Is <region2> in <region1>?", regions, "No")
    )
    assert question.question.text == "<image>\nIs <bbox_location1> in <bbox_location0>?"
    assert question.reference.text == "No"
    boxes = ((0.0, 0.0, 5.0, 5.0), (1.0, 1.0, 2.0, 2.0))
    question = question_of(
        Item("b", "grounding", "", None, "Where?", boxes=boxes, phrases=("A dog", "the cat"))
    )
    assert question.record.images == ()
    assert question.phrases == ("dog", "cat")
    assert question.reference.text == "A dog <bbox_location0>. the cat <bbox_location1>"


def test_items_survive_their_file() -> None:
    item = Item(
        "a", "referring", "a.jpg", (10, 10), "<region>?", (Point(5, 6),), truth={"x": [1]}, groups={"g": "h"}
    )
    assert item_from_json(json.loads(json.dumps(item_to_json(item))), where="x") == item
    with pytest.raises(RecordError, match="x: not a benchmark's question"):
        item_from_json({"id": "a"}, where="x")


def test_a_server_under_test(refcoco: Path, tmp_path: Path, server: StandIn) -> None:
    # The dog 10..50 x 10..30 of 100 x 50, in shares of the sides.
    server.reply = lambda request: "[0.1, 0.2, 0.5, 0.6]"
    items = find_benchmark("refcoco").items(refcoco)
    endpoint = Endpoint(server.client(), "unit")
    out = tmp_path / "out"
    ask_endpoint(endpoint, items, root=refcoco, out_dir=out, max_new_tokens=9)
    scored = score_benchmark(
        find_benchmark("refcoco"), join(items, read_answers(out / "predictions.jsonl")), split="val"
    )
    assert scored.metrics["figures"]["acc_90"]["value"] == pytest.approx(2 / 3)
    request = server.requests[0]
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("stand-in", 9, 0.0)
    shown, text = request["messages"][0]["content"]
    assert shown["image_url"]["url"].startswith("data:image/png;base64,")
    assert text["text"].startswith("Where is ")
    line = json.loads((out / "predictions.jsonl").read_text().splitlines()[0])
    assert (line["scale"], line["image_wh"]) == ("unit", [100, 50])
    assert line["found"][0]["bins"] == [100.0, 200.0, 500.0, 600.0]
    assert line["found"][0]["region"]["xyxy"] == [10, 10, 50, 30]


def test_a_server_that_fails_in_the_middle(refcoco: Path, tmp_path: Path, server: StandIn) -> None:
    items = find_benchmark("refcoco").items(refcoco)
    out = tmp_path / "out"
    endpoint = Endpoint(server.client(), concurrency=1)

    def fails_on_the_cat(request: dict[str, Any]) -> str | int:
        return 400 if "cat" in request["messages"][0]["content"][1]["text"] else "[1, 2, 3, 4]"

    server.reply = fails_on_the_cat
    with pytest.raises(RequestError, match="status 400"):
        ask_endpoint(endpoint, items, root=refcoco, out_dir=out)
    server.requests.clear()
    server.reply = lambda request: "[5, 6, 7, 8]"
    ask_endpoint(endpoint, items, root=refcoco, out_dir=out)
    texts = [item.text for item in read_predictions(out / "predictions.jsonl").values()]
    assert len(server.requests) == 1
    assert texts == ["[1, 2, 3, 4]", "[1, 2, 3, 4]", "[5, 6, 7, 8]"]
    with pytest.raises(ConfigError, match="another evaluation"):
        ask_endpoint(Endpoint(server.client(), "pixels"), items, root=refcoco, out_dir=out)


def test_regions_are_written_for_a_server(refcoco: Path, tmp_path: Path, server: StandIn) -> None:
    items = find_benchmark("refcocog_captions").items(refcoco, split="val")
    ask_endpoint(Endpoint(server.client(), "pixels"), items[:1], root=refcoco, out_dir=tmp_path / "out")
    assert server.requests[0]["messages"][0]["content"][1]["text"] == (
        "Describe [10, 10, 50, 30] in one short sentence."
    )


@pytest.mark.parametrize(
    ("text", "name", "split", "count"),
    [
        ("refcoco", "refcoco", "val", None),
        ("refcoco_val:500", "refcoco", "val", 500),
        ("refcoco+_testA:7", "refcoco+", "testA", 7),
        ("screenspot_v2_web:9", "screenspot_v2", "web", 9),
        ("lvis_free_form:1", "lvis_free_form", "val", 1),
    ],
)
def test_slices_are_named(text: str, name: str, split: str, count: int | None) -> None:
    benchmark, found, number = parse_slice(text)
    assert (benchmark.name, found, number) == (name, split, count)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refcoco_val:0", "above 0"),
        ("refcoco_val:x", "above 0"),
        ("refcoco_testC", "no split"),
        ("nothing:3", "no benchmark"),
    ],
)
def test_slices_that_do_not_exist(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_slice(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x"}', "has no an id|has no id|no an id"),
        ('{"id": "a"}', "text"),
        ('{"id": "a", "text": "x", "scale": "cm"}', "scale is 'cm'"),
        ('{"id": "a", "text": "x", "image_wh": 3}', "image_wh"),
        ("{", "line 1: not JSON"),
        ("[1]", "a list of objects"),
    ],
)
def test_files_of_answers_that_are_broken(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(RecordError, match=message):
        read_answers(file)


@pytest.mark.slow
def test_two_processes_answer_each_question_once(
    tiny_model_folder: Path, refcoco: Path, tmp_path: Path
) -> None:
    command = ["evaluate", str(tiny_model_folder), "--benchmark", "refcoco", "--root", str(refcoco)]
    command += ["--device", "cpu", "--batch_size", "1", "--max_new_tokens", "4", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, start in (("one", [sys.executable]), ("two", launcher)):
        done = subprocess.run(
            [*start, "-m", "mustela", *command, str(tmp_path / name)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("RefCOCO, val: 3 questions") == 1
    for file in ("predictions.jsonl", "metrics.json", "scores.jsonl", "questions.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert not list((tmp_path / "two").glob("predictions.0*"))
