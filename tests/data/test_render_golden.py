"""Texts and region masks equal those of the original program, apart from what it got wrong.

Not compared, because the original's result is a defect that we refuse or repair: swapped corners, boxes
outside their picture, placeholders and boxes that don't add up, answers that lost their box (to `no_coor`, or
to a point that was referred back), and the second mask of a box that reused the first one's point.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mustela.data.check import check_record
from mustela.data.message import Slot
from mustela.data.native import record_from_native
from mustela.data.render import Rendered, RenderedRegion, RenderOptions, render, sample_rng
from mustela.regions import Box, Mask, Region

REFUSED = {
    "swapped_corners",
    "placeholder_without_box",
    "fewer_box_lists_than_turns",
    "no_location_loader",
    "box_fully_outside",
}


@functools.cache
def golden() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "golden" / "locations.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def native(record_id: str) -> dict[str, Any]:
    return next(record for record in golden()["records"] if record["id"] == record_id)


SETTINGS = ["record", "format", "point_input_sample", "add_region_feature", "no_coor", "refer_previous_point"]
RECORDS = [record["id"] for record in golden()["records"] if record["id"] not in REFUSED]


def results_of(record_id: str) -> list[dict[str, Any]]:
    return [result for result in golden()["results"] if result["record"] == record_id]


def ours(result: dict[str, Any]) -> Rendered:
    raw = native(result["record"])
    options = RenderOptions(
        point_input_sample=result["point_input_sample"],
        refer_previous_point=result["refer_previous_point"],
        no_coor=result["no_coor"],
        add_region_feature=result["add_region_feature"],
        clamp="last_pixel",
        box_input=result["format"],
    )
    sizes = [(raw["image_w"], raw["image_h"])]
    return render(record_from_native(raw), options, sizes_wh=sizes, rng=sample_rng(0, 0, 0))


def answers_of(result: dict[str, Any]) -> list[str]:
    """Answers of the original without the two options that spoil them."""
    plain = {**{key: result[key] for key in SETTINGS}, "no_coor": False, "refer_previous_point": False}
    plain["add_region_feature"] = False
    for other in golden()["results"]:
        if all(other[key] == plain[key] for key in SETTINGS):
            return list(other["texts"])
    raise AssertionError(f"no plain result for {result}")


@pytest.mark.parametrize("record_id", RECORDS)
def test_texts_equal_the_original(record_id: str, parity) -> None:
    names = {Slot.IMAGE: "<image>", Slot.REGION: "<region_fea>"}
    for result in results_of(record_id):
        if record_id == "same_box_twice_other_masks" and result["refer_previous_point"]:
            continue
        got = [
            "".join(names[part] if isinstance(part, Slot) else part for part in message.parts)
            for message in ours(result).messages
        ]
        assert got[::2] == result["texts"][::2], result
        assert got[1::2] == answers_of(result)[1::2], result
        parity.add("locations: texts of a record")


def inclusive(region: Region | None) -> Region | None:
    """Boxes of the original include the pixel at their far corner, ours end before it."""
    if isinstance(region, Box):
        return Box(region.x1, region.y1, region.x2 + 1, region.y2 + 1)
    return region


def in_text_order(masks: list[Mask], raw: dict[str, Any]) -> list[Mask]:
    """The original lists its masks in the order of the boxes, ours follow the text."""
    ordered: list[Mask] = []
    start = 0
    for turn, boxes in zip(raw["conversations"][::2], raw["box_x1y1x2y2"][::2], strict=True):
        ordered += [masks[start + int(n)] for n in re.findall(r"<bbox_location(\d+)>", turn["value"])]
        start += len(boxes)
    return ordered


@pytest.mark.parametrize("record_id", RECORDS)
def test_region_masks_equal_the_original(record_id: str, parity) -> None:
    raw = native(record_id)
    size_wh = (raw["image_w"], raw["image_h"])
    for result in results_of(record_id):
        if "region_masks" not in result:
            continue
        masks = in_text_order([Mask.from_rle(golden()["masks"][n]) for n in result["region_masks"]], raw)
        regions = ours(result).regions
        assert len(regions) == len(masks)
        for shown, mask in zip(regions, masks, strict=True):
            region = inclusive(shown.region)
            assert region is not None
            same_frame: RenderedRegion = replace(shown, region=region, within=inclusive(shown.within))
            np.testing.assert_array_equal(
                same_frame.raster(size_wh), mask.raster(size_wh), err_msg=str(result)
            )
            parity.add("locations: masks of regions")


STOPPED = [
    "empty_mask",
    "float_boxes",
    "float_boxes_whole_numbers",
    "mask_far_from_box_centre",
    "mask_outside_its_box",
    "same_box_twice_other_masks",
    "three_boxes_one_round",
]


@pytest.mark.parametrize("box_input", ["box", "point"])
@pytest.mark.parametrize("mode", ["center", "segment_mask|center"])
@pytest.mark.parametrize("record_id", STOPPED)
def test_where_the_original_stops_there_is_a_region(record_id: str, mode: Any, box_input: Any) -> None:
    raw = native(record_id)
    record = check_record(raw).record
    assert record is not None
    size_wh = (raw["image_w"], raw["image_h"])
    options = RenderOptions(point_input_sample=mode, box_input=box_input, clamp="last_pixel")
    regions = render(record, options, sizes_wh=[size_wh], rng=sample_rng(0, 0, 0)).regions
    boxes = [Box(*box) for turn in raw["box_x1y1x2y2"][::2] for box in turn]
    assert len(regions) == len(boxes) > 0
    for shown, box in zip(regions, boxes, strict=True):
        inside = shown.raster(size_wh)
        assert inside.any()
        allowed = box.raster(size_wh)
        if isinstance(shown.within, Mask):
            # As there, a mask may reach out of its box.
            allowed |= shown.within.raster(size_wh)
        assert not (inside & ~allowed).any()


@pytest.mark.parametrize(
    ("record_id", "kind"),
    [
        ("mask_size_wrong", "mask.size"),
        ("placeholder_missing", "regions.placeholders"),
        ("swapped_corners", "box.swapped"),
    ],
)
def test_what_the_original_stops_at_and_nobody_can_read_is_named(record_id: str, kind: str) -> None:
    checked = check_record(native(record_id))
    assert checked.record is None
    fault = next(fault for fault in checked.faults if fault.severity == "error")
    assert (fault.kind, fault.record_id) == (kind, record_id)
