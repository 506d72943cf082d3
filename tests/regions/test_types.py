import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mustela.errors import ImageError, RegionError
from mustela.regions import Box, Mask, Point, Polygon, Scribble, region_from_json, region_to_json

sizes = st.tuples(st.integers(1, 40), st.integers(1, 30))
coordinates = st.floats(-20, 60, allow_nan=False).map(lambda value: round(value, 2))


def centres(size_wh):
    xs, ys = np.meshgrid(np.arange(size_wh[0]) + 0.5, np.arange(size_wh[1]) + 0.5)
    return xs, ys


@st.composite
def boxes(draw):
    x1, x2 = sorted((draw(coordinates), draw(coordinates)))
    y1, y2 = sorted((draw(coordinates), draw(coordinates)))
    return Box(x1, y1, x2, y2)


@given(boxes(), sizes)
def test_box_covers_the_pixels_whose_centres_it_holds(box, size_wh):
    xs, ys = centres(size_wh)
    expected = (xs >= box.x1) & (xs < box.x2) & (ys >= box.y1) & (ys < box.y2)
    raster = box.raster(size_wh)
    assert raster.shape == size_wh[::-1]
    assert raster.dtype == np.bool_
    assert box.area(size_wh) == raster.sum()
    if expected.any():
        assert (raster == expected).all()
    touches = box.x2 >= 0 and box.y2 >= 0 and box.x1 <= size_wh[0] and box.y1 <= size_wh[1]
    assert raster.any() == touches


@pytest.mark.parametrize(
    ("box", "column", "row"),
    [
        (Box(2.1, 3.1, 2.2, 3.2), 2, 3),
        (Box(5, 5, 5, 5), 5, 5),
        (Box(10, 8, 10, 8), 9, 7),
        (Box(9.7, 7.9, 15, 12), 9, 7),
        (Box(-5, -5, 0, 0), 0, 0),
    ],
)
def test_thin_box_covers_the_nearest_pixel(box, column, row):
    assert np.argwhere(box.raster((10, 8))).tolist() == [[row, column]]


def test_point_covers_a_window_of_eleven_pixels():
    raster = Point(20.7, 15.2).raster((64, 48))
    ys, xs = np.nonzero(raster)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (15, 25, 10, 20)
    assert raster.sum() == 121 == Point(20.7, 15.2).area((64, 48))
    assert Point(0, 0).area((64, 48)) == 36
    assert Point(64, 48).raster((64, 48)).any()
    assert not Point(200, 10).raster((64, 48)).any()


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9), sizes)
def test_polygon_raster_agrees_with_counting_crossings(ring, size_wh):
    raster = Polygon((tuple(ring),)).raster(size_wh)
    xs, ys = centres(size_wh)
    expected = np.zeros(size_wh[::-1], dtype=bool)
    for (xa, ya), (xb, yb) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if ya == yb:
            continue
        between = (np.minimum(ya, yb) <= ys) & (ys < np.maximum(ya, yb))
        low, high = ((xa, ya), (xb, yb)) if ya < yb else ((xb, yb), (xa, ya))
        crossing = low[0] + (ys - low[1]) / (high[1] - low[1]) * (high[0] - low[0])
        expected ^= between & (crossing <= xs)
    if expected.any():
        assert (raster == expected).all()


def test_polygon_raster_agrees_with_pillow_inside_and_outside():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * math.pi, 12))
        radii = rng.uniform(15, 45, 12)
        ring = [(50 + r * math.cos(a), 50 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
        scale = 8
        picture = Image.new("1", (100 * scale, 100 * scale))
        ImageDraw.Draw(picture).polygon([(x * scale - 0.5, y * scale - 0.5) for x, y in ring], fill=1)
        fine = np.asarray(picture).reshape(100, scale, 100, scale)
        raster = Polygon((tuple(ring),)).raster((100, 100))
        assert raster[fine.all(axis=(1, 3))].all()
        assert not raster[~fine.any(axis=(1, 3))].any()


def test_ring_in_a_ring_is_a_hole_and_rings_apart_add_up():
    outer = ((0, 0), (10, 0), (10, 10), (0, 10))
    inner = ((2, 2), (8, 2), (8, 8), (2, 8))
    assert Polygon((outer, inner)).area((12, 12)) == 100 - 36
    assert Polygon((outer, inner[::-1])).area((12, 12)) == 100 - 36
    assert Polygon((outer, ((20, 0), (22, 0), (22, 2), (20, 2)))).area((30, 12)) == 104


def test_polygon_of_a_rectangle_equals_the_box():
    box = Box(1.5, 2.5, 9.2, 7)
    ring = ((1.5, 2.5), (9.2, 2.5), (9.2, 7), (1.5, 7))
    assert (Polygon((ring,)).raster((12, 9)) == box.raster((12, 9))).all()


def test_shapes_too_thin_for_a_centre_cover_a_pixel():
    assert Polygon((((2.1, 2.1), (2.2, 2.1), (2.2, 2.2)),)).area((5, 5)) == 1
    assert Scribble(((2.1, 2.1), (2.2, 2.1)), width=0.1).area((5, 5)) == 1
    assert Polygon((((50, 50), (51, 50), (51, 51)),)).area((5, 5)) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=6), st.floats(0.5, 12), sizes)
def test_scribble_covers_the_centres_within_half_its_width(points, width, size_wh):
    xs, ys = centres(size_wh)
    nearest = np.full(size_wh[::-1], np.inf)
    for (xa, ya), (xb, yb) in zip(points, points[1:] or points, strict=False):
        length_squared = (xb - xa) ** 2 + (yb - ya) ** 2
        along = ((xs - xa) * (xb - xa) + (ys - ya) * (yb - ya)) / (length_squared or 1.0)
        along = np.clip(along, 0, 1) if length_squared else np.zeros_like(xs)
        distance = np.hypot(xs - xa - along * (xb - xa), ys - ya - along * (yb - ya))
        nearest = np.minimum(nearest, distance)
    raster = Scribble(tuple(points), width).raster(size_wh)
    undecided = np.abs(nearest - width / 2) < 1e-6
    if (nearest < width / 2).any():
        assert (raster == (nearest <= width / 2))[~undecided].all()


@pytest.mark.parametrize(
    "region",
    [
        Point(3, 4),
        Box(2, 2, 17, 9),
        Box(-5, -5, 4, 4),
        Scribble(((2, 2), (15, 3), (15, 10))),
        Polygon((((2, 1), (18, 1), (18, 11), (16, 11), (16, 3), (2, 3)),)),
        Mask.from_array(np.eye(12, 20, dtype=bool)),
    ],
)
def test_anchor_lies_inside_the_raster(region):
    x, y = region.anchor((20, 12))
    assert region.raster((20, 12))[int(y), int(x)]
    assert region.area((20, 12)) == region.raster((20, 12)).sum()


@pytest.mark.parametrize(
    "region", [Point(90, 90), Box(50, 50, 60, 60), Mask.from_array(np.zeros((12, 20), bool))]
)
def test_anchor_of_nothing_is_an_error(region):
    with pytest.raises(RegionError, match="covers no pixel of the image of 20 x 12"):
        region.anchor((20, 12))


def test_bounds():
    assert Point(1, 2).bounds_xyxy() == (1, 2, 1, 2)
    assert Box(1, 2, 3, 4).bounds_xyxy() == (1, 2, 3, 4)
    assert Scribble(((1, 2), (5, 3)), width=2).bounds_xyxy() == (0, 1, 6, 4)
    assert Polygon((((1, 2), (5, 3), (0, 9)),)).bounds_xyxy() == (0, 2, 5, 9)


def test_box_with_swapped_corners_names_both_readings():
    with pytest.raises(RegionError, match=r"\[53, 89, 7, 226\] has x2 < x1.*would be \[53, 89, 60, 315\]"):
        Box(53, 89, 7, 226)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(math.nan, 0, 1, 1), "box x1 is nan"),
        (lambda: Box(0, 0, math.inf, 1), "finite"),
        (lambda: Box("10", 0, 20, 20), "numbers in pixels"),
        (lambda: Point(True, 0), "numbers in pixels"),
        (lambda: Point(10**400, 0), "finite"),
        (lambda: Scribble(()), "at least one point"),
        (lambda: Scribble(((1, 2, 3),)), "3 numbers"),
        (lambda: Scribble(((1, 2),), width=0), "width is 0"),
        (lambda: Polygon(()), ">= 6 numbers"),
        (lambda: Polygon((((1, 1), (2, 2)),)), ">= 6 numbers"),
        (lambda: Box(0, 0, 1, 1).raster((0, 4)), "no pixels"),
    ],
)
def test_malformed_regions_are_refused(make, message):
    with pytest.raises(RegionError, match=message):
        make()


def test_numpy_numbers_become_plain_floats():
    box = Box(*np.array([1, 2, 3, 4], dtype=np.float32))
    assert all(type(value) is float for value in box.bounds_xyxy())
    assert box == Box(1, 2, 3, 4)
    assert hash(box) == hash(Box(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("region", "value"),
    [
        (Box(1, 2, 3, 4.5), {"type": "box", "xyxy": [1, 2, 3, 4.5]}),
        (Point(1, 2), {"type": "point", "xy": [1, 2]}),
        (Scribble(((1, 2), (3, 4)), 3), {"type": "scribble", "points": [[1, 2], [3, 4]], "width": 3}),
        (Polygon((((1, 1), (4, 1), (4, 3)),)), {"type": "polygon", "rings": [[1, 1, 4, 1, 4, 3]]}),
        (
            Mask.from_array(Box(1, 1, 4, 3).raster((6, 4))),
            {"type": "mask", "size": [4, 6], "counts": "5220007"},
        ),
    ],
)
def test_json_form_goes_both_ways(region, value):
    assert region_to_json(region) == value
    assert region_from_json(value) == region
    assert region_from_json({**value, "image": 1}, ignore=["image"]) == region


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "object with a 'type'"),
        ({}, "type is None"),
        ({"type": "circle"}, "type is 'circle'"),
        ({"type": ["box"]}, "type is"),
        ({"type": "box"}, "lacks 'xyxy'"),
        ({"type": "box", "xyxy": [1, 2, 3, 4], "color": 1}, "unknown 'color'"),
        ({"type": "box", "xyxy": [1, 2, 3]}, "3 numbers, not 4"),
        ({"type": "box", "xyxy": ["10", "10", "50", "50"]}, "'10'"),
        ({"type": "box", "xyxy": "10 10 50 50"}, "is a list"),
        ({"type": "point", "xy": [None, 1]}, "None"),
        ({"type": "scribble", "points": [1, 2]}, "is a list"),
        ({"type": "scribble", "points": [[1, 2]], "width": "3"}, "width"),
        ({"type": "polygon", "rings": [[1, 1, 4, 3]]}, "needs >= 6 numbers, even count"),
        ({"type": "polygon", "rings": [[1, 1]]}, "needs >= 6 numbers, even count"),
        ({"type": "polygon", "rings": [[1, 1, 4, 1, 4, 3, 1]]}, "needs >= 6 numbers, even count"),
        ({"type": "polygon", "rings": []}, "needs >= 6 numbers, even count"),
        ({"type": "mask", "size": [4, 6], "counts": [1, 2]}, "add up to 3"),
    ],
)
def test_malformed_json_is_refused(value, message):
    with pytest.raises(RegionError, match=message):
        region_from_json(value)


def test_polygons_of_a_small_grid():
    rectangle = region_from_json({"type": "polygon", "rings": [[1, 1, 4, 1, 4, 3, 1, 3]]})
    assert Mask.from_array(rectangle.raster((6, 4))).counts == b"5220007"
    two = region_from_json({"type": "polygon", "rings": [[1, 1, 2, 1, 2, 3, 1, 3], [3, 1, 4, 1, 4, 3, 3, 3]]})
    assert two.area((6, 4)) == 4


def test_mask_files(tmp_path):
    truth = Box(1, 1, 4, 3).raster((6, 4))
    np.save(tmp_path / "mask.npy", truth.astype(np.uint8))
    (tmp_path / "mask.json").write_text('{"size": [4, 6], "counts": "5220007"}')
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "zero_one.png")
    Image.fromarray(truth.astype(np.uint8) * 255).save(tmp_path / "white.png")
    Image.fromarray(truth).save(tmp_path / "bits.png")
    rgba = Image.new("RGBA", (6, 4))
    rgba.paste((0, 0, 0, 255), (1, 1, 4, 3))
    rgba.save(tmp_path / "cutout.png")
    for name in ("mask.npy", "mask.json", "zero_one.png", "white.png", "bits.png", "cutout.png"):
        assert (Mask.from_file(tmp_path / name).raster((6, 4)) == truth).all(), name
    with pytest.raises(ImageError, match=r"absent\.png"):
        Mask.from_file(tmp_path / "absent.png")
    with pytest.raises(RegionError, match=r"absent\.npy"):
        Mask.from_file(tmp_path / "absent.npy")
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(RegionError, match=r"bad\.json"):
        Mask.from_file(tmp_path / "bad.json")
