"""Faults of records: each is named with its place and a remedy, all of them in one look."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mustela.data.check import Checked, CheckOptions, check_record
from mustela.data.message import Slot
from mustela.data.native import record_from_native, record_to_native
from mustela.data.record import Record
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.errors import ConfigError
from mustela.regions import Box, Mask, Point, format_box

SIZE = (640, 480)


def raw_record(*texts: str, **fields: object) -> dict[str, Any]:
    """A record of one picture; texts are turns, human first."""
    return {
        "id": "r1",
        "image": "a.jpg",
        "image_w": SIZE[0],
        "image_h": SIZE[1],
        "conversations": [
            {"from": "human" if number % 2 == 0 else "gpt", "value": text}
            for number, text in enumerate(texts or ("<image>\nHi", "ok"))
        ],
        **fields,
    }


def boxed(box: object, **fields: object) -> dict[str, Any]:
    return raw_record("<image>\n<bbox_location0>?", "ok", **{"box_x1y1x2y2": [[box], []], **fields})


def kinds(checked: Checked, severity: str = "error") -> list[str]:
    return [fault.kind for fault in checked.faults if fault.severity == severity]


def good(raw: object, options: CheckOptions | None = None) -> Record:
    checked = check_record(raw, options)
    assert checked.record is not None, [str(fault) for fault in checked.faults]
    return checked.record


def only_fault(raw: object, options: CheckOptions | None = None) -> str:
    checked = check_record(raw, options, file="f.json", line=7)
    assert checked.record is None
    (fault,) = checked.faults
    return str(fault)


# Turns


def turns(*pairs: tuple[str, object]) -> list[dict[str, object]]:
    return [{"from": role, "value": text} for role, text in pairs]


@pytest.mark.parametrize(
    ("conversation", "turn", "reason"),
    [
        (turns(("gpt", "a"), ("human", "b"), ("gpt", "c")), 0, "expected human"),
        (turns(("human", "a"), ("human", "b"), ("gpt", "c")), 1, "expected gpt"),
        ([], None, "conversations is empty"),
        (None, None, "conversations is empty"),
        ("hi", None, "not a list"),
        (turns(("human", "a"), ("gpt", "")), 1, "is empty"),
        (turns(("human", "a"), ("gpt", " \n")), 1, "is empty"),
        (turns(("human", "a"), ("gpt", None)), 1, "None"),
        (turns(("human", "a"), ("gpt", 3)), 1, "not a text"),
        (
            turns(
                ("human", "a"),
            ),
            0,
            "without an answer",
        ),
        (turns(("human", "a"), ("gpt", "b"), ("human", "c")), 2, "without an answer"),
        (turns(("system", "a")), 0, "only a system turn"),
        (turns(("human", "a"), ("system", "b"), ("gpt", "c")), 1, "system turn"),
        (turns(("human", "a"), ("robot", "b")), 1, "'robot'"),
        (["a", "b"], 0, "not an object"),
        (turns(("human", "a \ud800"), ("gpt", "b")), 0, "surrogate"),
    ],
)
def test_turn_order_and_empty_turns_are_named(conversation: object, turn: int | None, reason: str) -> None:
    checked = check_record({"id": "x", "conversations": conversation}, file="f.json")
    assert checked.record is None
    fault = checked.faults[0]
    assert (fault.record_id, fault.turn) == ("x", turn)
    assert reason in str(fault)


def test_a_leading_system_turn_is_the_system_text() -> None:
    raw = raw_record(box_x1y1x2y2=[[], [[0, 0, 9, 9]], []])
    raw["conversations"] = turns(("system", "Be brief."), ("human", "<image><bbox_location0>"), ("gpt", "ok"))
    record = good(raw)
    assert record.system == "Be brief."
    assert [turn.role for turn in record.turns] == ["user", "assistant"]
    assert len(record.turns[0].regions) == 1


# Images


def test_one_path_and_a_list_of_one_path_are_the_same() -> None:
    assert good(raw_record(image=["a.jpg"])) == good(raw_record(image="a.jpg"))


@pytest.mark.parametrize(
    ("raw", "numbers"),
    [
        (raw_record("What time is it?", "9"), "0 <image> found in the human turns, 1 images given"),
        (
            raw_record("<image>\n<image>\nCompare.", "no"),
            "2 <image> found in the human turns, 1 images given",
        ),
        (
            {"id": "r1", "conversations": turns(("human", "<image>\nHi"), ("gpt", "ok"))},
            "1 <image> found in the human turns, 0 images given",
        ),
    ],
)
def test_image_words_and_images_must_agree(raw: object, numbers: str) -> None:
    assert numbers in only_fault(raw)
    assert '"r1"' in only_fault(raw)


@pytest.mark.parametrize("image", [3, {"path": "a"}, ["a.jpg", ""], ["a.jpg", None]])
def test_an_image_is_a_path_or_a_list_of_paths(image: object) -> None:
    assert kinds(check_record(raw_record(image=image)))[0] == "image.type"


@pytest.mark.parametrize("image", [None, "", []])
def test_no_image_is_written_in_several_ways(image: object) -> None:
    record = good({"id": 5, "image": image, "conversations": turns(("human", "Hi"), ("gpt", "ok"))})
    assert record.images == ()
    assert record.id == "5"


@pytest.mark.parametrize("width", ["640", 0, -3, 1.5, True, [640, 640], [None, 3]])
def test_sizes_are_whole_numbers_one_for_each_image(width: object) -> None:
    assert kinds(check_record(raw_record(image_w=width))) == ["size.type"]


def test_an_answer_may_say_image() -> None:
    assert good(raw_record("<image>\nHi", "The word is <image>."))


# Placeholders, boxes and turns


@pytest.mark.parametrize(
    ("texts", "boxes", "kind", "words"),
    [
        (
            ("<image>\nIs <bbox_location0> left of <bbox_location1>?", "yes"),
            [[[10, 10, 50, 50]], []],
            "regions.placeholders",
            "turn 0, value: placeholders found: 0, 1; boxes given: 1; <bbox_location1> has no box",
        ),
        (
            ("<image>\na", "b", "<bbox_location0>", "d"),
            [[], []],
            "regions.turns",
            "2 lists (of 0, 0 entries) for 4 turns",
        ),
        (("<image>\na", "b"), [[], [], []], "regions.turns", "3 lists (of 0, 0, 0 entries) for 2 turns"),
        (
            ("<image>\n<bbox_location0>", "b"),
            [[[1, 2, 3, 4], [5, 6, 7, 8]], []],
            "regions.placeholders",
            "placeholders found: 0; boxes given: 2; box 1 has no placeholder",
        ),
        (
            ("<image>\n<bbox_location0> <bbox_location2>", "b"),
            [[[1, 2, 3, 4], [5, 6, 7, 8]], []],
            "regions.placeholders",
            "<bbox_location2> has no box; box 1 has no placeholder",
        ),
        (
            ("<image>\na", "b <bbox_location0>"),
            None,
            "regions.placeholders",
            "turn 1, value: placeholders found: 0; boxes given: 0",
        ),
        (("<image>\n<bbox_location>", "b"), None, "regions.placeholders", "malformed"),
        (("<image>\n", "bbox_location0"), None, "regions.placeholders", "malformed"),
        (("<image>\na", "b"), 3, "regions.type", "list of lists"),
        (("<image>\na", "b"), [[], 4], "regions.type", "box_x1y1x2y2[1] is a int"),
    ],
)
def test_placeholders_boxes_and_turns_must_add_up(
    texts: tuple[str, ...], boxes: object, kind: str, words: str
) -> None:
    checked = check_record(raw_record(*texts, box_x1y1x2y2=boxes))
    assert kinds(checked) == [kind]
    assert words in str(checked.faults[0])
    assert '"r1"' in str(checked.faults[0])


def test_a_placeholder_used_twice_is_fine() -> None:
    record = good(
        raw_record("<image>\n<bbox_location0> or <bbox_location0>", "x", box_x1y1x2y2=[[[1, 2, 3, 4]], []])
    )
    assert len(record.turns[0].regions) == 1


def test_boxes_need_an_image() -> None:
    raw = {"id": "a", "conversations": turns(("human", "<bbox_location0>"), ("gpt", "x"))}
    checked = check_record({**raw, "box_x1y1x2y2": [[[1, 2, 3, 4]], []]})
    assert kinds(checked) == ["region.image"]


# Boxes


@pytest.mark.parametrize(
    ("box", "kind", "words"),
    [
        ([53, 89, 7, 226], "box.swapped", "set box_format: xywh ([53, 89, 60, 315] for this one)"),
        ([300, 200, 100, 50], "box.swapped", "box_format: xywh ([300, 200, 400, 250] for this one)"),
        ([600, 400, 100, 300], "box.swapped", "upper left corner first ([100, 300, 600, 400] for this one)"),
        ([100, 100, 100, 150], "box.empty", "no area"),
        ([700, 500, 800, 600], "box.outside", "wholly outside the image of 640 x 480"),
        ([640, 0, 700, 100], "box.outside", "wholly outside"),
        ([math.nan, 0, 1, 1], "box.numbers", "nan is not finite"),
        ([0, 0, 1, math.inf], "box.numbers", "inf is not finite"),
        ([0, 0, 1, 10**400], "box.numbers", "not finite"),
        ([1, 2, 3], "box.length", "3 entries, not 4 numbers"),
        ([[1, 2, 3, 4]], "box.length", "1 entries"),
        ("1234", "box.length", "str"),
        (None, "box.length", "NoneType"),
        (["a", 0, 1, 1], "box.numbers", "'a' is not a number"),
        ([True, 0, 9, 9], "box.numbers", "True is not a number"),
        ([0.1, 0.2, 0.3, 0.4], "box.normalised", "looks normalised 0..1"),
    ],
)
def test_bad_boxes_are_named(box: object, kind: str, words: str) -> None:
    checked = check_record(boxed(box), file="f.json", line=3)
    assert kinds(checked) == [kind]
    text = str(checked.faults[0])
    assert words in text
    assert text.startswith('f.json:3 record "r1", turn 0, box_x1y1x2y2[0][0]: ')


@pytest.mark.parametrize(
    ("box", "expected", "kind", "bins"),
    [
        ([600, 400, 700, 500], (600, 400, 640, 480), "box.clamped", "[937, 833, 999, 999]"),
        ([-1, -1, 100, 200], (0, 0, 100, 200), "box.clamped", "[0, 0, 156, 416]"),
        (["10", "10", "50", "50"], (10, 10, 50, 50), "box.text_numbers", "[15, 20, 78, 104]"),
        ([0, 0, 1, 1], (0, 0, 1, 1), "box.one_pixel", "[0, 0, 1, 2]"),
    ],
)
def test_boxes_that_can_be_repaired_are_and_a_warning_says_so(
    box: object, expected: tuple[float, ...], kind: str, bins: str
) -> None:
    checked = check_record(boxed(box))
    assert checked.record is not None
    region = checked.record.turns[0].regions[0].region
    assert region == Box(*expected)
    assert kinds(checked, "warning") == [kind]
    assert format_box(region.bounds_xyxy(), SIZE) == bins


@pytest.mark.parametrize(
    ("box_format", "box", "expected"),
    [
        ("xyxy", [64, 96, 192, 192], (64, 96, 192, 192)),
        ("xywh", [53, 89, 7, 226], (53, 89, 60, 315)),
        ("norm1", [0.1, 0.2, 0.3, 0.4], (64, 96, 192, 192)),
        ("norm1000", [100, 200, 300, 400], (64, 96, 192, 192)),
        ("norm1", [0, 0, 1, 1], (0, 0, 640, 480)),
    ],
)
def test_every_declared_box_format_becomes_pixels(
    box_format: Any, box: object, expected: tuple[float, ...]
) -> None:
    record = good(boxed(box), CheckOptions(box_format=box_format))
    bounds = record.turns[0].regions[0].region.bounds_xyxy()
    assert bounds == pytest.approx(expected)


@pytest.mark.parametrize("box_format", ["norm1", "norm1000"])
def test_pixels_declared_normalised_are_refused(box_format: Any) -> None:
    box = [100, 120, 2299, 340]
    assert "set box_format: xyxy" in only_fault(boxed(box), CheckOptions(box_format=box_format))


@pytest.mark.parametrize("box_format", ["xyxy", "xywh"])
def test_fractions_declared_pixels_are_refused(box_format: Any) -> None:
    text = only_fault(boxed([0.1, 0.2, 0.3, 0.4]), CheckOptions(box_format=box_format))
    assert f"looks normalised 0..1, but box_format is {box_format}. Set box_format: norm1" in text


def test_normalised_boxes_need_a_size() -> None:
    raw = boxed([0.1, 0.2, 0.3, 0.4], image_w=None)
    assert "size is unknown" in only_fault(raw, CheckOptions(box_format="norm1"))


def test_unknown_options_name_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"box_format is 'cxcywh'.*'xywh'"):
        CheckOptions(box_format="cxcywh")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"size_policy is 'resize'.*'scale'"):
        CheckOptions(size_policy="resize")  # type: ignore[arg-type]


# Masks


def small(**fields: object) -> dict[str, Any]:
    return boxed([1, 1, 4, 3], image_w=6, image_h=4, **fields)


@pytest.mark.parametrize("counts", ["5220007", [5, 2, 2, 2, 2, 2, 9]])
def test_masks_in_either_form_give_the_same_and_the_input_stays_as_it_is(counts: object) -> None:
    raw = small(masks=[[{"size": [4, 6], "counts": counts}], []])
    before = copy.deepcopy(raw)
    first, second = good(raw), good(raw)
    mask = first.turns[0].regions[0].mask
    assert first == second
    assert mask is not None
    expected = np.zeros((4, 6), dtype=bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(mask.raster((6, 4)), expected)
    assert raw == before
    json.dumps(raw)


@pytest.mark.parametrize(
    ("mask", "kind", "words"),
    [
        ({"size": [6, 4], "counts": [24]}, "mask.size", "[w, h] given?"),
        (
            {"size": [2, 3], "counts": [6]},
            "mask.size",
            "3 wide and 2 high, but the image is 6 wide and 4 high",
        ),
        ({"size": [4, 6], "counts": [20, 3]}, "mask.invalid", "add up to 23"),
        ({"size": [4, 6]}, "mask.invalid", "counts"),
        ("text", "mask.invalid", "size"),
        ([[1, 1, 4, 3]], "mask.invalid", "polygon needs >= 6 numbers, even count"),
        ([[1, 1]], "mask.invalid", "polygon needs >= 6 numbers, even count"),
        ([[1, 1, 4, 1, 4]], "mask.invalid", "polygon needs >= 6 numbers, even count"),
    ],
)
def test_masks_that_do_not_fit_are_named(mask: object, kind: str, words: str) -> None:
    checked = check_record(small(masks=[[mask], []]))
    assert kinds(checked) == [kind]
    assert words in str(checked.faults[0])
    assert "masks[0][0]" in str(checked.faults[0])


@pytest.mark.parametrize(
    ("rings", "area"),
    [
        ([[1, 1, 4, 1, 4, 3, 1, 3]], 6),
        ([[1, 1, 2, 1, 2, 3, 1, 3], [3, 1, 4, 1, 4, 3, 3, 3]], 4),
    ],
)
def test_masks_may_be_polygons(rings: object, area: int) -> None:
    mask = good(small(masks=[[rings], []])).turns[0].regions[0].mask
    assert mask is not None
    assert mask.area((6, 4)) == area


@pytest.mark.parametrize("rings", [[[1, 1, 4, 3]], [[1, 1]], [], [[1, 1, 4, 1, 4]]])
def test_bad_polygons_are_named(rings: object) -> None:
    region = {"type": "polygon", "rings": rings}
    raw = raw_record("<image> <bbox_location0>", "x", image_w=6, image_h=4, regions=[[region], []])
    assert "polygon needs >= 6 numbers, even count" in only_fault(raw).replace("A polygon", "polygon")


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ([24], "mask.empty_dropped"),
        ([16, 8], "mask.apart"),
    ],
)
def test_a_box_is_used_without_a_mask_that_is_empty_or_elsewhere(counts: list[int], kind: str) -> None:
    checked = check_record(small(masks=[[{"size": [4, 6], "counts": counts}], []]))
    assert checked.record is not None
    (annotation,) = checked.record.turns[0].regions
    assert annotation.region == Box(1, 1, 4, 3)
    assert annotation.mask is None
    assert kinds(checked, "warning") == [kind]


def test_an_empty_mask_alone_is_an_error() -> None:
    region = {"type": "mask", "size": [4, 6], "counts": "h0"}
    raw = raw_record("<image> <bbox_location0>", "x", image_w=6, image_h=4, regions=[[region], []])
    assert "no pixel inside" in only_fault(raw)


def test_masks_and_boxes_must_be_as_many() -> None:
    raw = small(masks=[[None, None], []])
    assert "2 masks for 1 boxes" in only_fault(raw)


# The extension


def test_all_kinds_of_regions_are_read() -> None:
    regions = [
        {"type": "point", "xy": [3, 4]},
        {"type": "box", "xyxy": [1, 2, 700, 9], "mask": {"size": [480, 640], "counts": [0, 307200]}},
        {"type": "scribble", "points": [[1, 1], [5, 5]], "width": 3},
        {"type": "polygon", "rings": [[1, 1, 9, 1, 9, 9]]},
        {"type": "mask", "size": [480, 640], "counts": [9, 307191]},
    ]
    text = "<image>\n" + " ".join(f"<bbox_location{n}>" for n in range(5))
    checked = check_record(raw_record(text, "x", regions=[regions, []]))
    assert checked.record is not None
    found = checked.record.turns[0].regions
    assert [type(annotation.region).__name__.lower() for annotation in found] == [r["type"] for r in regions]
    assert found[1].mask is not None
    assert found[1].region == Box(1, 2, 640, 9)
    assert kinds(checked, "warning") == ["box.clamped"]


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"type": "circle"}, "'circle'"),
        ({"xy": [1, 2]}, "None"),
        ([1, 2, 3, 4], "an object with a 'type'"),
        ({"type": "point", "xy": [1]}, "1 numbers"),
        ({"type": "point", "xy": [700, 2]}, "the point lies outside the image"),
        ({"type": "scribble", "points": [[-90, -90]], "width": 3}, "the scribble lies outside"),
        ({"type": "polygon", "rings": [[700, 1, 800, 1, 800, 9]]}, "the polygon lies outside"),
        ({"type": "polygon", "rings": [[-10, 5, 5, -10, -10, -10]]}, "the polygon lies outside"),
        ({"type": "scribble", "points": [[-40, 20], [20, -40]], "width": 2}, "the scribble lies outside"),
        ({"type": "box", "xyxy": [0.1, 0.1, 0.5, 0.5]}, "of the box look normalised 0..1"),
        ({"type": "box", "xyxy": [0, 0, 0.5, 1]}, "Multiply x by the image's width"),
        ({"type": "scribble", "points": [[0.1, 0.1], [0.5, 0.5]]}, "of the scribble look normalised"),
        ({"type": "polygon", "rings": [[0, 0, 0.5, 0, 1, 1]]}, "of the polygon look normalised"),
        ({"type": "box", "xyxy": [1, 1, 9, 9], "mask": [[0, 0, 0.5, 0, 1, 1]]}, "polygons look normalised"),
        ({"type": "box", "xyxy": [9, 9, 1, 1]}, "x2 < x1"),
        ({"type": "point", "xy": [1, 2], "image": 1}, "image 1, but the record has 1"),
        ({"type": "point", "xy": [1, 2], "image": -1}, "image -1"),
        ({"type": "point", "xy": [1, 2], "image": "0"}, "'0'"),
        ({"type": "point", "xy": [1, 2], "mask": {"size": [1, 1], "counts": [1]}}, "1 wide and 1 high"),
    ],
)
def test_bad_regions_are_named(region: object, words: str) -> None:
    text = only_fault(raw_record("<image> <bbox_location0>", "x", regions=[[region], []]))
    assert words in text
    assert "turn 0, regions[0][0]" in text


@pytest.mark.parametrize(
    "region",
    [
        {"type": "point", "xy": [0.5, 0.5]},
        {"type": "scribble", "points": [[0.5, 0.5]]},
        {"type": "box", "xyxy": [0, 0, 1, 1]},
        {"type": "polygon", "rings": [[0, 0, 1, 0, 1, 1]]},
        {"type": "polygon", "rings": [[-10, 5, 9, -10, 9, 9]]},
        {"type": "scribble", "points": [[-40, 20], [20, 20]], "width": 2},
    ],
)
def test_regions_at_the_border_are_read(region: object) -> None:
    good(raw_record("<image> <bbox_location0>", "x", regions=[[region], []]))


def test_regions_of_several_images_use_their_own_size() -> None:
    regions = [[{"type": "box", "xyxy": [0, 0, 30, 30], "image": 1}], []]
    raw = raw_record(
        "<image><image> <bbox_location0>",
        "x",
        image=["a.jpg", "b.jpg"],
        image_w=[10, 40],
        image_h=[10, 40],
        regions=regions,
    )
    assert good(raw).turns[0].regions[0].region == Box(0, 0, 30, 30)


def test_boxes_and_regions_exclude_each_other() -> None:
    raw = boxed([1, 2, 3, 4], regions=[[{"type": "point", "xy": [1, 2]}], []])
    assert kinds(check_record(raw)) == ["regions.both"]


# Sizes of files


def folder_with(tmp_path: Path, name: str, size_wh: tuple[int, int], orientation: int | None = None) -> Path:
    image = Image.new("RGB", size_wh)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif)
    return tmp_path


def check_in(folder: Path, raw: object, **options: Any) -> Checked:
    chosen = CheckOptions(**options)
    return check_record(raw, chosen, folder=chosen.open_folder(folder))


def test_a_size_that_differs_from_the_file_is_an_error(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", (1280, 960))
    checked = check_in(folder, boxed([100, 100, 200, 200]))
    assert kinds(checked) == ["size.mismatch"]
    text = str(checked.faults[0])
    assert "640 x 480" in text
    assert "1280 x 960" in text
    assert "size_policy: scale" in text


def test_size_policy_scale_moves_regions_to_the_file(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", (1280, 960))
    mask = {"size": [480, 640], "counts": [0, 307200]}
    raw = boxed([100, 100, 200, 200], masks=[[mask], []])
    checked = check_in(folder, raw, size_policy="scale")
    assert checked.record is not None
    (annotation,) = checked.record.turns[0].regions
    assert annotation.region == Box(200, 200, 400, 400)
    assert annotation.mask is not None
    assert annotation.mask.area((1280, 960)) == 1280 * 960
    assert format_box(annotation.region.bounds_xyxy(), (1280, 960)) == "[156, 208, 312, 416]"
    assert kinds(checked, "warning") == ["size.scaled"]
    assert checked.record.images[0].size_wh == (1280, 960)


def test_without_a_stated_size_the_file_has_it(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", (1280, 960))
    raw = boxed([100, 100, 200, 200], image_w=None, image_h=None)
    checked = check_in(folder, raw)
    assert checked.record is not None
    region = checked.record.turns[0].regions[0].region
    assert format_box(region.bounds_xyxy(), (1280, 960)) == "[78, 104, 156, 208]"
    assert checked.record.images[0].size_wh == (1280, 960)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_sizes_and_masks_belong_to_the_picture_as_shown(tmp_path: Path, orientation: int) -> None:
    folder = folder_with(tmp_path, "a.jpg", (40, 20), orientation)
    shown = check_in(folder, boxed([18, 38, 20, 40], image_w=20, image_h=40))
    assert shown.record is not None
    assert shown.faults == ()
    stored = check_in(folder, boxed([38, 0, 40, 2], image_w=40, image_h=20))
    assert "EXIF?" in str(stored.faults[0])
    mask = {"size": [20, 40], "counts": [0, 800]}
    turned = check_in(folder, boxed([1, 1, 4, 4], image_w=20, image_h=40, masks=[[mask], []]))
    assert kinds(turned) == ["mask.size"]
    assert "EXIF?" in str(turned.faults[0])


# Anything


def test_all_faults_of_a_record_are_found_at_once() -> None:
    raw = raw_record(
        "<image><image>\n<bbox_location0> <bbox_location1>",
        "<bbox_location0> <bbox_location5>",
        id=["a"],
        image_w="640",
        box_x1y1x2y2=[[[9, 9, 1, 1], [1, 2, 3]], [[700, 700, 800, 800]]],
    )
    assert set(kinds(check_record(raw))) >= {
        "record.id",
        "size.type",
        "box.swapped",
        "box.length",
        "image.count",
        "regions.placeholders",
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["id", "image", "image_w", "image_h", "conversations", "box_x1y1x2y2", "masks", "regions"]
        ),
        anything,
        max_size=3,
    )
)
def test_no_content_raises(fields: dict[str, object]) -> None:
    raw = boxed([1, 2, 30, 40], masks=[[None], []])
    checked = check_record({**raw, **fields})
    assert (checked.record is None) == bool(kinds(checked))
    for fault in checked.faults:
        assert str(fault)


@pytest.mark.parametrize(
    "fields", [{"id": "half \ud800"}, {"image": "half \ud800.jpg"}, {"image": ["half \ud800.jpg"]}]
)
def test_faults_can_be_printed_whatever_they_quote(tmp_path: Path, fields: dict[str, object]) -> None:
    checked = check_in(tmp_path, raw_record(**fields))
    assert "text.surrogate" in kinds(checked)
    assert "half \\ud800" in "\n".join(map(str, checked.faults))
    for fault in checked.faults:
        str(fault).encode("utf-8")


@pytest.mark.parametrize("raw", [None, 3, "text", [1], True])
def test_a_record_is_an_object(raw: object) -> None:
    assert "not an object" in only_fault(raw)


numbers = st.integers(-50, 700)


@settings(max_examples=100, deadline=None)
@given(boxes=st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=3))
def test_what_passes_the_check_renders_without_placeholders(boxes: list[tuple[int, ...]]) -> None:
    places = " ".join(f"<bbox_location{n}>" for n in range(len(boxes)))
    raw = raw_record(f"<image>\n{places}", places, box_x1y1x2y2=[[list(b) for b in boxes]] * 2)
    record = check_record(raw).record
    if record is None:
        return
    assert record_from_native(json.loads(json.dumps(record_to_native(record)))) == record
    result = render(record, RenderOptions(), sizes_wh=[SIZE], rng=sample_rng(0, 0, 0))
    assert all("bbox_location" not in message.plain_text for message in result.messages)
    assert sum(message.count(Slot.REGION) for message in result.messages) == len(boxes)
    assert all(region.raster(SIZE).any() for region in result.regions)


def test_point_and_mask_regions_survive() -> None:
    mask = Mask.from_array(np.eye(4, dtype=bool))
    raw = raw_record(
        "<image> <bbox_location0>",
        "x",
        image_w=4,
        image_h=4,
        regions=[[{"type": "point", "xy": [1, 1], "mask": mask.to_rle()}], []],
    )
    (annotation,) = good(raw).turns[0].regions
    assert (annotation.region, annotation.mask) == (Point(1, 1), mask)
