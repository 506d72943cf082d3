import pytest
from hypothesis import given
from hypothesis import strategies as st

from mustela.errors import RegionError
from mustela.regions import dequantise, find_regions, format_box, format_point, quantise

sides = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("box", "size_wh", "clamp", "expected"),
    [
        ((0, 0, 640, 480), (640, 480), "edge", "[0, 0, 999, 999]"),
        ((639, 479, 640, 480), (640, 480), "edge", "[998, 997, 999, 999]"),
        ((0, 0, 640, 480), (640, 480), "last_pixel", "[0, 0, 998, 997]"),
        ((-1, -1, 100, 200), (640, 480), "edge", "[0, 0, 156, 416]"),
        ((100, 100, 200, 200), (640, 480), "edge", "[156, 208, 312, 416]"),
        ((500, 350, 1000, 700), (1000, 700), "edge", "[500, 500, 999, 999]"),
        ((600, 400, 640, 480), (640, 480), "edge", "[937, 833, 999, 999]"),
        ((64, 96, 192, 192), (640, 480), "edge", "[100, 200, 300, 400]"),
        ((0, 0, 1, 1), (1, 1), "edge", "[0, 0, 999, 999]"),
        ((0, 0, 1, 1), (1, 1), "last_pixel", "[0, 0, 0, 0]"),
        ((0, 0, 4000, 4000), (4000, 4000), "edge", "[0, 0, 999, 999]"),
        ((100, 120, 299, 340), (640, 480), "last_pixel", "[156, 250, 467, 708]"),
    ],
)
def test_boxes_as_text(box, size_wh, clamp, expected):
    assert format_box(box, size_wh, clamp=clamp) == expected


def test_points_as_text():
    assert format_point((320, 240), (640, 480)) == "[500, 500]"
    assert format_point((640, 480), (640, 480)) == "[999, 999]"
    assert format_point((640, 480), (640, 480), clamp="last_pixel") == "[998, 997]"


@given(sides, st.floats(0, 1))
def test_a_coordinate_comes_back_within_one_bin(side, share):
    value = share * side
    back = dequantise(quantise(value, side), side)
    assert abs(back - value) <= side / 1000 * (1 + 1e-9)


@given(sides, st.floats(-1e6, 1e6), st.sampled_from(["edge", "last_pixel"]))
def test_bins_stay_in_range(side, value, clamp):
    assert 0 <= quantise(value, side, clamp=clamp) <= 999


@given(sides, st.integers(0, 999))
def test_reading_and_writing_a_bin_again_does_not_drift(side, bin_index):
    assert quantise(dequantise(bin_index, side), side) == bin_index


@given(st.tuples(sides, sides), st.tuples(*[st.integers(0, 999)] * 4))
def test_a_written_box_is_found_again(size_wh, bins):
    x1, x2 = sorted(bins[:2])
    y1, y2 = sorted(bins[2:])
    text = f"The dog [{x1}, {y1}, {x2}, {y2}]."
    found = find_regions(text, size_wh)
    (region,) = found.regions
    assert not region.repaired
    assert region.phrase == "The dog"
    assert format_box(region.region.bounds_xyxy(), size_wh) == text[slice(*region.span)]


@pytest.mark.parametrize(
    ("value", "side"),
    [(float("nan"), 10), (float("inf"), 10), (1, 0), (1, -5), (1, float("nan")), (1, float("inf"))],
)
def test_meaningless_coordinates_are_refused(value, side):
    with pytest.raises(RegionError, match="cannot write"):
        quantise(value, side)


def test_wrong_numbers_of_coordinates_are_refused():
    with pytest.raises(RegionError, match="4 numbers, got 3"):
        format_box((1, 2, 3), (10, 10))
    with pytest.raises(RegionError, match="2 numbers, got 3"):
        format_point((1, 2, 3), (10, 10))
