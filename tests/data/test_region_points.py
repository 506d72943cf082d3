"""Points of regions: those of the raster, though hardly any raster is drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mustela.data.region_points import draw_points
from mustela.data.render import RenderedRegion
from mustela.errors import RegionError
from mustela.regions import Box, Mask, Point, Polygon, sample_points

SIZE = (64, 48)

_BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    st.integers(-5, 60), st.integers(-5, 40), st.integers(0, 30), st.integers(0, 30),
)  # fmt: skip
_POINTS = st.builds(Point, st.integers(0, 63), st.integers(0, 47))
_MASKS = st.builds(
    lambda first, second: Mask.from_array(first.raster((64, 48)) ^ second.raster((64, 48))), _BOXES, _BOXES
)
_POLYGONS = st.builds(
    lambda box, x: Polygon((((box.x1, box.y1), (box.x2, box.y1), (x, box.y2)),)), _BOXES, st.integers(-5, 60)
)
_KINDS = st.builds(
    RenderedRegion,
    st.one_of(_BOXES, _POINTS, _MASKS, _POLYGONS),
    st.one_of(st.none(), _BOXES, _MASKS),
)


@settings(deadline=None)
@given(_KINDS, st.integers(1, 40))
def test_points_are_those_of_the_raster(shown: RenderedRegion, count: int) -> None:
    raster = shown.raster(SIZE)
    if not raster.any():
        for rng in (None, np.random.default_rng(0)):
            with pytest.raises(RegionError, match="covers no pixel"):
                draw_points([shown], [SIZE], count=count, rng=rng)
        return
    spread = draw_points([shown], [SIZE], count=count, rng=None)
    assert (spread[0] == sample_points(raster, count=count, rng=None)).all()
    found = draw_points([shown], [SIZE], count=count, rng=np.random.default_rng(0))[0]
    assert (found == _expected(shown, raster, count)).all()


def _expected(shown: RenderedRegion, raster: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if not _is_whole_mask(shown, raster):
        return sample_points(raster, count=count, rng=rng)
    turned = sample_points(np.ascontiguousarray(raster.T), count=count, rng=rng)[:, ::-1]
    return turned[np.lexsort((turned[:, 0], turned[:, 1]))]


def _is_whole_mask(shown: RenderedRegion, raster: np.ndarray) -> bool:
    if shown.within is None:
        return isinstance(shown.region, Mask)
    if not (isinstance(shown.region, Box) and isinstance(shown.within, Mask)):
        return False
    return bool((raster == shown.within.raster(SIZE)).all())


@settings(deadline=None)
@given(st.lists(_KINDS.filter(lambda shown: shown.raster(SIZE).any()), min_size=1, max_size=5))
def test_regions_together_are_drawn_as_one_after_the_other(regions: list[RenderedRegion]) -> None:
    together, alone = np.random.default_rng(0), np.random.default_rng(0)
    found = draw_points(regions, [SIZE], count=9, rng=together)
    assert found.dtype == np.float32
    for shown, points in zip(regions, found, strict=True):
        assert (points == draw_points([shown], [SIZE], count=9, rng=alone)[0]).all()
    assert together.random() == alone.random()


def test_a_mask_for_another_picture_is_refused() -> None:
    mask = Mask.from_array(np.ones((5, 5), bool))
    for shown, rng in itertools.product(
        (RenderedRegion(mask), RenderedRegion(Point(2, 2), mask), RenderedRegion(Box(0, 0, 9, 9), mask)),
        (None, np.random.default_rng(0)),
    ):
        with pytest.raises(RegionError, match="the image 64 wide x 48 high"):
            draw_points([shown], [SIZE], count=3, rng=rng)
