"""Every question has one right answer, and it is the one that is written."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.data.shapes.oracle import fits, iou, pixels, pointed_at, read_rounds, words_in
from tests.data.shapes.scenes import Sample

from mustela.data.shapes import Scene, Thing

PLURAL_REQUEST = re.compile(r"\b(every|all|each)\b", re.IGNORECASE)


def all_rounds(samples: list[Sample]):
    for sample in samples:
        for records in sample.records.values():
            for record in records:
                for item in read_rounds(record, sample.scene, sample.world):
                    yield sample.scene, item


def requests_for_places(samples: list[Sample]):
    """Grounding and detection: the scene, the round, and the words of its question alone."""
    for sample in samples:
        for scene, item in all_rounds([sample]):
            if item.boxed:
                yield scene, item, words_in(item.question, sample.world) - {(None, None)}


def truth(question: str, scene: Scene, first: Thing, second: Thing) -> bool:
    x = first.centre[0] - second.centre[0]
    y = first.centre[1] - second.centre[1]
    for pattern, holds in (
        ("left", x < 0),
        ("right", x > 0),
        ("above|higher", y < 0),
        ("below|down", y > 0),
        ("bigger|larger", first.mask.sum() > second.mask.sum()),
        ("color", first.colour == second.colour),
        ("shape", first.shape.name == second.shape.name),
    ):
        if re.search(pattern, question):
            return bool(holds)
    raise ValueError(question)


def test_marked_objects_have_the_name_that_is_given(samples: list[Sample]) -> None:
    asked = 0
    for scene, item in all_rounds(samples):
        if len(item.asked) == 1:
            thing = pointed_at(item.asked[0], scene)
            assert item.answer in (f"a {thing.name}.", f"an {thing.name}.")
            assert (item.answer[:3] == "an ") == (thing.name[0] in "aeiou")
            asked += 1
    assert asked > 800


def test_marks_lie_on_their_object(samples: list[Sample]) -> None:
    for scene, item in all_rounds(samples):
        for region in item.asked:
            thing, inside = pointed_at(region, scene), pixels(region, scene)
            share = float(thing.mask[inside].mean())
            if region["type"] == "mask":
                assert share == 1.0
            elif region["type"] == "point":
                assert thing.mask[int(region["xy"][1]), int(region["xy"][0])]
            elif region["type"] != "box":
                assert share > 0.6, region


def test_a_box_without_a_mask_means_one_object(samples: list[Sample]) -> None:
    for scene, item in all_rounds(samples):
        for region in item.asked:
            if region["type"] == "box" and not region.get("mask"):
                likeness = sorted(iou(region["xyxy"], thing.box) for thing in scene.things)
                assert likeness[-1] == 1.0
                assert likeness[-2] <= 0.6


def test_places_are_those_of_all_objects_that_the_words_fit(samples: list[Sample]) -> None:
    asked = {"one": 0, "all": 0, "short": 0, "everything": 0}
    for scene, item, mentioned in requests_for_places(samples):
        found = [thing for thing in scene.things if all(fits(words, thing) for words in mentioned)]
        assert [tuple(region["xyxy"]) for region in item.boxed] == [thing.box for thing in found]
        names = re.findall(r"an? ([a-z]+ [a-z]+) <bbox_location(\d+)>", item.answer)
        assert names == [(thing.name, str(number)) for number, thing in enumerate(found)]
        if not mentioned:
            asked["everything"] += 1
        elif PLURAL_REQUEST.search(item.question):
            asked["all"] += 1
        elif re.fullmatch(r"[a-z]+ [a-z]+\?", item.question):
            asked["short"] += 1
        else:
            asked["one"] += 1
            assert len(found) == 1, item.question
    assert min(asked.values()) > 100


@pytest.mark.parametrize("kind", ["presence", "count"])
def test_presence_and_counts_are_true(samples: list[Sample], kind: str) -> None:
    asked = 0
    for scene, item in all_rounds(samples):
        if item.asked or item.boxed:
            continue
        (words,) = item.words
        count = sum(fits(words, thing) for thing in scene.things)
        if kind == "presence" and item.answer in ("Yes.", "No."):
            assert item.answer == ("Yes." if count else "No."), item.question
            asked += 1
        elif kind == "count" and item.answer not in ("Yes.", "No."):
            assert item.answer == f"{count}.", item.question
            asked += 1
    assert asked > 150


def test_relations_are_true_and_clear(samples: list[Sample]) -> None:
    asked = 0
    for scene, item in all_rounds(samples):
        if len(item.asked) == 2:
            first, second = (pointed_at(region, scene) for region in item.asked)
            assert first is not second
            assert item.answer == ("Yes." if truth(item.question, scene, first, second) else "No.")
            asked += 1
    assert asked > 150


def test_objects_are_numbered_in_raster_order(samples: list[Sample]) -> None:
    for sample in samples:
        corners = [(thing.box[1], thing.box[0]) for thing in sample.scene.things]
        assert corners == sorted(corners)


def test_every_kind_of_region_is_asked_about(samples: list[Sample]) -> None:
    kinds = np.array([region["type"] for _, item in all_rounds(samples) for region in item.asked])
    for kind in ("box", "point", "scribble", "polygon", "mask"):
        assert (kinds == kind).mean() > 0.08, kind
