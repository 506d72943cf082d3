"""Coordinate styles: each is read back as it was written, and numbers of another style are noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mustela.errors import RegionError
from mustela.regions import COORDINATE_STYLES, Box, Point, find_regions, scale_of, write_coordinates

SIZE = (640, 480)


@pytest.mark.parametrize(
    ("style", "box", "point"),
    [
        ("bins", "[100, 250, 500, 999]", "[100, 250]"),
        ("corners", "(100,250),(500,999)", "(100,250)"),
        ("json", '{"bbox_2d": [100, 250, 500, 999]}', '{"point_2d": [100, 250]}'),
        ("unit", "[0.100, 0.250, 0.500, 1.000]", "[0.100, 0.250]"),
        ("pixels", "[64, 120, 320, 480]", "[64, 120]"),
    ],
)
def test_written(style, box, point):
    assert write_coordinates(Box(64, 120, 320, 480), SIZE, style=style) == box
    assert write_coordinates(Point(64, 120), SIZE, style=style) == point


@pytest.mark.parametrize("style", COORDINATE_STYLES)
@given(data=st.data())
def test_read_back_within_one_step(style, data):
    width, height = data.draw(st.integers(8, 4000)), data.draw(st.integers(8, 4000))
    x1, y1 = data.draw(st.floats(0, width - 4)), data.draw(st.floats(0, height - 4))
    x2, y2 = data.draw(st.floats(x1 + 2, width)), data.draw(st.floats(y1 + 2, height))
    text = "the dog " + write_coordinates(Box(x1, y1, x2, y2), (width, height), style=style) + "."
    (found,) = find_regions(text, (width, height), scale=scale_of(style)).regions
    step = 1.0 if style == "pixels" else max(width, height) / 1000
    for was, now in zip((x1, y1, x2, y2), found.region.bounds_xyxy(), strict=True):
        assert abs(was - now) <= step + 1e-6


def test_numbers_of_another_style_are_rejected_with_a_reason():
    bins = write_coordinates(Box(64, 120, 320, 480), SIZE)
    assert "read as 'unit'" in str(find_regions(bins, SIZE, scale=scale_of("unit")).failure)
    unit = write_coordinates(Box(64, 120, 320, 470), SIZE, style="unit")
    for other in ("bins", "pixels"):
        failure = find_regions(unit, SIZE, scale=scale_of(other)).failure
        assert "read the answer with scale 'unit'" in str(failure)


def test_unknown_style():
    with pytest.raises(RegionError, match="Choose one of: bins, corners"):
        write_coordinates(Point(1, 1), SIZE, style="tokens")  # type: ignore[arg-type]
