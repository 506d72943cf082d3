"""The four scorers against figures that the original computed from the same predictions."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from mustela.errors import RecordError
from mustela.evaluate.original import (
    FlickrPhrase,
    read_boxes,
    same_phrase,
    score_flickr,
    score_lvis,
    score_pope,
    score_refexp,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))
POPE = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1 score": "f1",
    "Yes ratio": "yes_ratio",
}


def test_answers_are_read_as_there(parity) -> None:
    cases = GOLDEN["answer_parsing"]
    wrong = []
    for case in cases:
        found = read_boxes(case["text"], (case["image_w"], case["image_h"]))
        # It ends with an error where a bracket has fewer than four numbers; here the answer has no boxes.
        boxes = [] if case.get("error") else case["boxes"]
        phrases = case["entities"] if boxes else []
        if found != [(phrase, tuple(box)) for phrase, box in zip(phrases, boxes, strict=True)]:
            wrong.append(case)
    parity.add("scorers: boxes and phrases of answers", cases=len(cases), difference=len(wrong))
    assert not wrong


def test_phrases_are_compared_as_there(parity) -> None:
    wrong = [c for c in GOLDEN["phrase_similarity"] if same_phrase(c["a"], c["b"]) != c["similar"]]
    parity.add("scorers: equal phrases", cases=len(GOLDEN["phrase_similarity"]), difference=len(wrong))
    assert not wrong


def test_referring_expressions(parity) -> None:
    golden = GOLDEN["refexp"]
    found = score_refexp(golden["ground_truth"], golden["predictions"])
    # Its three figures are sorted by size and so say not which is which.
    away = [
        abs(a - b)
        for name, expected in golden["metric"]["metric"].items()
        for a, b in zip(sorted(found[name].values()), expected, strict=True)
    ]
    parity.add("scorers: referring expressions", cases=len(away), difference=max(away))
    assert max(away) < 1e-12


def test_predictions_are_matched_by_id() -> None:
    variants = {variant["name"]: variant for variant in GOLDEN["refexp"]["variants"]}
    for name, variant in variants.items():
        if "fewer" in name or "missing" in name:
            with pytest.raises(RecordError, match="1 missing"):
                score_refexp(variant["ground_truth"], variant["predictions"])
    shuffled = variants["ground truth in descending id order"]
    assert shuffled["metric"]["refcoco"] == [0.0, 0.0, 0.0]
    found = score_refexp(shuffled["ground_truth"], shuffled["predictions"])
    assert found["refcoco"] == {"first": 0.75, "mean": 0.5, "best": 0.75}
    short = variants["a box of two numbers"]
    assert score_refexp(short["ground_truth"], short["predictions"])["refcoco"]["best"] == 0.0


def test_yes_or_no_questions(parity) -> None:
    golden = GOLDEN["pope"]
    answers, labels = golden["main"]["answers"], golden["main"]["labels"]
    found = score_pope(answers, labels)
    away = [abs(found[ours] - golden["main"]["metric"][theirs]) for theirs, ours in POPE.items()]
    parity.add("scorers: yes/no questions", cases=len(away), difference=max(away))
    assert max(away) < 1e-12
    for case in golden["per_answer"]:
        assert score_pope([case["answer"]], ["yes"])["yes_ratio"] == float(case["counts_as"] == "yes"), case


def test_yes_or_no_questions_without_a_hit_and_of_other_lengths() -> None:
    variants = {variant["name"]: variant for variant in GOLDEN["pope"]["variants"]}
    for name in ("nothing predicted yes", "no true positive"):
        assert variants[name]["error"]["type"] == "ZeroDivisionError"
        assert score_pope(variants[name]["answers"], variants[name]["labels"])["f1"] == 0.0
    short = variants["labels shorter than answers"]
    with pytest.raises(RecordError, match="3 answers for 2 labels"):
        score_pope(short["answers"], short["labels"])
    spelt = variants["label spelt Yes/NO"]
    assert spelt["metric"]["Accuracy"] == 0.5
    assert score_pope(spelt["answers"], spelt["labels"])["accuracy"] == 1.0


def test_names_of_things(parity) -> None:
    golden = GOLDEN["lvis"]
    wrong = [item for item in golden["per_item"] if bool(score_lvis([item["prediction"]])) != item["correct"]]
    away = abs(100 * score_lvis(golden["predictions"]) - float(golden["stdout"].split(":")[1].rstrip("%\n")))
    parity.add("scorers: names of things", cases=len(golden["per_item"]) + 1, difference=away + len(wrong))
    assert not wrong
    assert away < 1e-9
    for variant in golden["variants"]:
        assert variant["error"]["type"] == "AssertionError"
        assert score_lvis([{"name": "x", "synonyms": variant["synonyms"], "text": "y"}]) == 0.0


def flickr() -> tuple[list[list[FlickrPhrase]], list[tuple[int, int]]]:
    """The phrases with boxes of each sentence, from files in the data set's own format."""
    files = GOLDEN["flickr_entities"]["files"]
    sentences: list[list[FlickrPhrase]] = []
    for image in GOLDEN["flickr_entities"]["annotation"]["images"]:
        number = image["original_img_id"]
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for thing in ElementTree.fromstring(files[f"Annotations/{number}.xml"]).iter("object"):
            box = thing.find("bndbox")
            if box is not None:
                corners = tuple(float(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax"))
                for name in thing.iter("name"):
                    boxes.setdefault(str(name.text), []).append(corners)
        line = files[f"Sentences/{number}.txt"].splitlines()[image["sentence_id"]]
        phrases = re.findall(r"\[/EN#(\d+)/(\S+) ([^\]]+)\]", line)
        sentences.append(
            [
                FlickrPhrase(text, tuple(kinds.split("/")), tuple(boxes[key]))  # type: ignore[arg-type]
                for key, kinds, text in phrases
                if key in boxes
            ]
        )
    sizes = [(i["width"], i["height"]) for i in GOLDEN["flickr_entities"]["annotation"]["images"]]
    return sentences, sizes


def named(found: dict[str, dict[int | None, float]]) -> dict[str, float]:
    return {
        f"{'Upper_bound' if count is None else f'Recall@{count}'}_{kind}": value
        for kind, at in found.items()
        for count, value in at.items()
    }


RUNS: list[dict[str, Any]] = GOLDEN["flickr_entities"]["runs"]


@pytest.mark.parametrize("run", [r for r in RUNS if r["metric"]], ids=lambda run: run["name"])
def test_phrases_of_sentences(run: dict[str, Any], parity) -> None:
    sentences, sizes = flickr()
    found = named(score_flickr(sentences, run["predictions"], sizes))
    assert found.keys() == run["metric"].keys()
    away = max(abs(found[name] - value) for name, value in run["metric"].items())
    parity.add("scorers: phrases of sentences", cases=len(found), difference=away)
    assert away < 1e-12


def test_phrases_of_sentences_where_the_original_ends() -> None:
    sentences, sizes = flickr()
    failed = {run["name"]: run for run in RUNS if not run["metric"]}
    with pytest.raises(RecordError, match="1 answers"):
        score_flickr(sentences, failed["fewer predictions than sentences"]["predictions"], sizes)
    found = score_flickr(sentences, failed["a box of two numbers"]["predictions"], sizes)
    assert found["all"][None] == pytest.approx(3 / 6)
