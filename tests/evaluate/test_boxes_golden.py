"""Boxes and overlaps against those of the original, where the original's reading of an answer is sound."""

import json
from pathlib import Path

import pytest

from mustela.regions import box_iou, find_regions

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/answer_boxes.json").read_text(encoding="utf-8"))
# The original reads none of these, as its bracket is another or missing; we do.
MORE = ("dog (100, 200, 300, 400).", "dog [100, 200, 300, 400")
# It ignores a fifth number, and takes "2_0" for 20; we refuse both.
FEWER = ("dog [100, 200, 300, 400, 500].", "dog [+100, 2_0, 300, 400].")


@pytest.mark.parametrize(
    "entry", GOLDEN["parsing"], ids=lambda entry: f"{entry['text']!r} {entry['image_w']}"
)
def test_ordinary_answers_give_the_same_boxes(entry: dict) -> None:
    found = find_regions(entry["text"], (entry["image_w"], entry["image_h"])).boxes
    if entry["text"] in MORE:
        assert len(found) == 1
    elif entry["text"] in FEWER:
        assert found == ()
    else:
        truncated = [[int(value) for value in box.bounds_xyxy()] for box in found]
        assert truncated == entry["boxes"]


@pytest.mark.parametrize("entry", GOLDEN["iou"])
def test_overlaps_are_the_same(entry: dict) -> None:
    assert box_iou([entry["box_xyxy"]], [entry["truth_xyxy"]])[0, 0] == pytest.approx(entry["iou"], abs=1e-6)
