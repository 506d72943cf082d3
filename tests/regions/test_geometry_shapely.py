"""Regions through transforms and augmentation against shapely, which knows nothing of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from shapely import affinity
from shapely.geometry import MultiPoint
from shapely.geometry import Polygon as Shape
from shapely.geometry import box as rectangle

from mustela.data.augment_geometry import cropped, mirrored, quarter_turned, scaled, visible_share
from mustela.data.record import RegionAnnotation
from mustela.regions import Box, CenterCrop, Pad, Polygon, Stretch

SIZE = 60, 40


@st.composite
def rings(draw):
    """Convex outlines of some area inside the picture."""
    points = draw(
        st.lists(
            # Shapely's overlays break down on coordinates like 1e-248.
            st.tuples(*(st.floats(0, side).map(lambda value: round(value, 6)) for side in SIZE)),
            min_size=3,
            max_size=8,
            unique=True,
        )
    )
    hull = MultiPoint(points).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 20:
        hull = rectangle(10, 10, 30, 25)
    return tuple(hull.exterior.coords[:-1])


def shape_of(region) -> Shape:
    return rectangle(*region.bounds_xyxy()) if isinstance(region, Box) else Shape(region.rings[0])


def same(region, shape) -> None:
    # Overlays of nearly equal shapes can come out wrong; distances don't.
    assert shape_of(region).hausdorff_distance(shape) < 1e-6 * max(SIZE)


@given(rings(), st.sampled_from(["stretch", "pad", "crop"]), st.integers(8, 90), st.integers(8, 90))
def test_fits_are_the_affine_maps_they_say(ring, kind, width, height):
    side = 30  # the shorter one, before the crop
    fit = (
        CenterCrop(SIZE, (width, height), side)
        if kind == "crop"
        else {"stretch": Stretch, "pad": Pad}[kind](SIZE, (width, height))
    )
    scale_x, scale_y = {
        "stretch": (width / SIZE[0], height / SIZE[1]),
        "pad": (min(width / SIZE[0], height / SIZE[1]),) * 2,
        "crop": (side / min(SIZE),) * 2,
    }[kind]
    expected = affinity.scale(Shape(ring), scale_x, scale_y, origin=(0, 0))
    middle = rectangle(0, 0, SIZE[0] * scale_x, SIZE[1] * scale_y).centroid
    if kind != "stretch":
        expected = affinity.translate(expected, width / 2 - middle.x, height / 2 - middle.y)
    moved = Shape(fit.points(ring))
    # Sides are whole pixels, so the picture and its margins may be off by one.
    assert moved.hausdorff_distance(expected) <= 1.5
    back = Shape(fit.inverse_points(np.asarray(moved.exterior.coords)))
    assert back.hausdorff_distance(Shape(ring)) < 1e-6


@given(rings(), st.sampled_from(["box", "polygon"]))
def test_mirror_images_and_turns(ring, kind):
    shape = Shape(ring)
    region = Polygon((ring,)) if kind == "polygon" else Box(*shape.bounds)
    before, image = shape_of(region), Image.new("RGB", SIZE)
    flipped = mirrored(image).annotation(RegionAnnotation(region)).region
    same(flipped, affinity.affine_transform(before, [-1, 0, 0, 1, SIZE[0], 0]))
    turned = quarter_turned(image).annotation(RegionAnnotation(region)).region
    # To the left with y down: (x, y) goes to (y, width - x).
    same(turned, affinity.affine_transform(before, [0, 1, -1, 0, 0, SIZE[0]]))


@given(rings(), st.floats(0.5, 2))
def test_other_sizes(ring, factor):
    region, image = Polygon((ring,)), Image.new("RGB", SIZE)
    moved = scaled(image, factor)
    x, y = moved.image.width / SIZE[0], moved.image.height / SIZE[1]
    same(
        moved.annotation(RegionAnnotation(region)).region,
        affinity.scale(shape_of(region), x, y, origin=(0, 0)),
    )


windows = st.tuples(st.integers(0, 25), st.integers(0, 15), st.integers(30, 60), st.integers(20, 40))


@given(rings(), windows)
def test_crops_and_what_they_show(ring, window):
    shape, view = Shape(ring), rectangle(*window)
    box, polygon = Box(*shape.bounds), Polygon((ring,))
    around = shape_of(box)
    expected = around.intersection(view)
    assert visible_share(box, SIZE, window) == pytest.approx(expected.area / around.area, abs=1e-9)
    # Of other shapes whole pixels are counted: off by at most those that the outline crosses.
    slack = (shape.length + 8) / shape.area
    assert visible_share(polygon, SIZE, window) == pytest.approx(
        shape.intersection(view).area / shape.area, abs=slack
    )
    if expected.area:
        moved = cropped(Image.new("RGB", SIZE), window).annotation(RegionAnnotation(box)).region
        same(moved, affinity.translate(expected, -window[0], -window[1]))


@settings(max_examples=50)
@given(rings())
def test_rasters_and_rle_have_the_area_of_the_shape(ring):
    shape, region = Shape(ring), Polygon((ring,))
    pixels = region.raster(SIZE)
    assert abs(int(pixels.sum()) - shape.area) <= shape.length
    rle = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert int(coco_mask.area(rle)) == region.area(SIZE)
    x, y, width, height = coco_mask.toBbox(rle)
    left, top, right, bottom = shape.bounds
    assert left - 1 <= x
    assert top - 1 <= y
    assert x + width <= right + 1
    assert y + height <= bottom + 1
    ys, xs = np.nonzero(pixels)
    assert all(shape.buffer(1e-6).covers(point) for point in MultiPoint(np.stack([xs, ys], 1) + 0.5).geoms)
