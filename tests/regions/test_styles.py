"""Coordinate styles: each is read back as it was written, and numbers of another style are noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mustela.errors import RegionError
from mustela.regions import (
    COORDINATE_STYLES,
    Box,
    CenterCrop,
    Pad,
    Point,
    Stretch,
    find_regions,
    read_coordinates,
    scale_of,
    write_coordinates,
)

SIZE = (640, 480)


@pytest.mark.parametrize(
    ("style", "box", "point"),
    [
        ("bins", "[100, 250, 500, 999]", "[100, 250]"),
        ("corners", "(100,250),(500,999)", "(100,250)"),
        ("json", '{"bbox_2d": [100, 250, 500, 999]}', '{"point_2d": [100, 250]}'),
        ("json_yx", '{"box_2d": [250, 100, 1000, 500]}', '{"point": [250, 100]}'),
        ("unit", "[0.100, 0.250, 0.500, 1.000]", "[0.100, 0.250]"),
        ("pixels", "[64, 120, 320, 480]", "[64, 120]"),
        ("tokens", "<loc0256><loc0102><loc1023><loc0512>", "<loc0256><loc0102>"),
        ("resized", "[32, 100, 160, 280]", "[32, 100]"),
    ],
)
def test_written(style, box, point):
    fit = Pad(SIZE, (320, 320))  # halved, with 40 pixels above
    assert write_coordinates(Box(64, 120, 320, 480), SIZE, style=style, fit=fit) == box
    assert write_coordinates(Point(64, 120), SIZE, style=style, fit=fit) == point


@pytest.mark.parametrize("style", COORDINATE_STYLES)
@given(data=st.data())
def test_read_back_within_one_step(style, data):
    width, height = data.draw(st.integers(8, 4000)), data.draw(st.integers(8, 4000))
    x1, y1 = data.draw(st.floats(0, width - 4)), data.draw(st.floats(0, height - 4))
    x2, y2 = data.draw(st.floats(x1 + 2, width)), data.draw(st.floats(y1 + 2, height))
    size = width, height
    kind = data.draw(st.sampled_from([Stretch, Pad]))
    fit = kind(size, (data.draw(st.integers(300, 500)), data.draw(st.integers(300, 500))))
    text = f"the dog {write_coordinates(Box(x1, y1, x2, y2), size, style=style, fit=fit)}."
    (found,) = read_coordinates(text, size, style=style, fit=fit).regions
    assert found.phrase == "the dog"
    steps = {"pixels": (1.0, 1.0), "resized": tuple(1 / scale for scale in fit.scale_xy)}
    step = steps.get(style, (width / 1000, height / 1000))
    for axis, (was, now) in enumerate(zip((x1, y1, x2, y2), found.region.bounds_xyxy(), strict=True)):
        assert abs(was - now) <= step[axis % 2] + 1e-6


def test_pixels_of_a_crop_are_kept_inside_it_and_come_back():
    crop = CenterCrop((200, 100), (50, 50), 50)  # halved, 25 pixels cut off on either side
    assert write_coordinates(Box(0, 0, 100, 100), (200, 100), style="resized", fit=crop) == "[0, 0, 25, 50]"
    (found,) = read_coordinates("[0, 0, 25, 50]", (200, 100), style="resized", fit=crop).regions
    assert found.region == Box(50, 0, 100, 100)


def test_pixels_of_the_margin_are_moved_to_the_border():
    pad = Pad(SIZE, (320, 320))
    (found,) = read_coordinates("[32, 0, 160, 280]", SIZE, style="resized", fit=pad).regions
    assert found.region == Box(64, 0, 320, 480)
    assert "moved to the image's border" in found.note


def test_pixels_of_the_fitted_picture_need_the_fit():
    with pytest.raises(RegionError, match="give fit"):
        write_coordinates(Point(1, 1), SIZE, style="resized")
    with pytest.raises(RegionError, match="give fit"):
        read_coordinates("[1, 1]", SIZE, style="resized")


@pytest.mark.parametrize(
    ("text", "boxes", "phrases"),
    [
        (
            "<loc0256><loc0102><loc1023><loc0512> cat ; <loc0000> <loc0000> <loc0512> <loc0512> black dog",
            [(63.75, 120, 320, 479.53125), (0, 0, 320, 240)],
            ["cat", "black dog"],
        ),
        (
            "a cat <loc0000><loc0000><loc0512><loc0512> and a dog <loc0512><loc0512><loc1023><loc1023>.",
            [(0, 0, 320, 240), (320, 240, 639.375, 479.53125)],
            ["a cat", "a dog"],
        ),
        (
            "cars <loc0000><loc0000><loc0512><loc0512><loc0512><loc0512><loc1023><loc1023>",
            [(0, 0, 320, 240), (320, 240, 639.375, 479.53125)],
            ["cars", "cars"],
        ),
        ("swapped <loc0512><loc0512><loc0000><loc0000>", [(0, 0, 320, 240)], ["swapped"]),
    ],
)
def test_location_tokens(text, boxes, phrases):
    found = read_coordinates(text, SIZE, style="tokens")
    assert [box.bounds_xyxy() for box in found.boxes] == boxes
    assert [one.phrase for one in found.regions] == phrases
    assert [one.repaired for one in found.regions] == [text.startswith("swapped")] * len(boxes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<loc0001><loc0002><loc0003>", "3 location tokens are neither a box"),
        ("<loc0001><loc0002><loc0003><loc1024>", "<loc1024> is out of range"),
        ("<loc0001><loc0002><loc0003><loc0004><loc0005><loc0006>", None),
        ("[100, 200, 300, 400]", r"[100, 200, 300, 400] has no location tokens"),
        ("(100,200),(300,400)", r"(100,200),(300,400) has no location tokens"),
        ("none", "no coordinates in the answer"),
    ],
)
def test_what_location_tokens_are_not(text, reason):
    found = read_coordinates(text, SIZE, style="tokens")
    assert found.failure is None if reason is None else reason in str(found.failure)


@pytest.mark.parametrize("style", ["bins", "corners", "json", "json_yx", "unit", "pixels"])
def test_location_tokens_among_numbers_are_named(style):
    failure = read_coordinates("a dog <loc0256><loc0102><loc1023><loc0512>", SIZE, style=style).failure
    assert failure == "location tokens; read the answer with scale 'tokens'"


@pytest.mark.parametrize(
    ("text", "boxes", "phrases"),
    [
        (
            '```json\n[\n  {"box_2d": [171, 75, 245, 308], "label": "view recipe element"}\n]\n```',
            [(48, 82.08, 197.12, 117.6)],
            ["view recipe element"],
        ),
        ("a cat [250, 100, 1000, 500].", [(64, 120, 320, 480)], ["a cat"]),
        ("250, 100, 1000, 500", [(64, 120, 320, 480)], [""]),
        ("(250, 100), (1000, 500)", [(64, 120, 320, 480)], [""]),
        ("[250, 100, 1000, 500", [(64, 120, 320, 480)], [""]),
        ('{"x1": 100, "y1": 250, "x2": 500, "y2": 1000}', [(64, 120, 320, 480)], [""]),
    ],
)
def test_y_before_x_where_no_key_says_otherwise(text, boxes, phrases):
    found = read_coordinates(text, SIZE, style="json_yx")
    assert [box.bounds_xyxy() for box in found.boxes] == [pytest.approx(box) for box in boxes]
    assert [one.phrase for one in found.regions] == phrases


def test_keys_that_name_the_other_order_are_rejected():
    qwen, gemma = (write_coordinates(Box(64, 120, 320, 480), SIZE, style=s) for s in ("json", "json_yx"))
    assert "scale 'bins'" in str(read_coordinates(qwen, SIZE, style="json_yx").failure)
    for style in ("bins", "corners", "json"):
        assert "scale 'bins_yx'" in str(read_coordinates(gemma, SIZE, style=style).failure)


def test_numbers_of_another_style_are_rejected_with_a_reason():
    bins = write_coordinates(Box(64, 120, 320, 480), SIZE)
    assert "read as 'unit'" in str(find_regions(bins, SIZE, scale=scale_of("unit")).failure)
    unit = write_coordinates(Box(64, 120, 320, 470), SIZE, style="unit")
    for other in ("bins", "pixels"):
        failure = find_regions(unit, SIZE, scale=scale_of(other)).failure
        assert "read the answer with scale 'unit'" in str(failure)


def test_unknown_style():
    with pytest.raises(RegionError, match="Choose one of: bins, corners"):
        write_coordinates(Point(1, 1), SIZE, style="words")  # type: ignore[arg-type]


@pytest.mark.parametrize("between", [", ", " ", "\n"])
def test_several_boxes_as_corners_stay_boxes_where_one_is_a_line(between) -> None:
    boxes = [Box(342, 282, 342, 413), Box(239, 130, 617, 301)]
    text = between.join(write_coordinates(box, (640, 480), style="corners") for box in boxes)
    found = read_coordinates(text, (640, 480), style="corners").regions
    assert [type(each.region) for each in found] == [Box, Box]
