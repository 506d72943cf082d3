"""Outlines, strokes and inner points of pixel masks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mustela.data.shapes.contours import trace_outline
from mustela.data.shapes.patch import Patch
from mustela.data.shapes.strokes import connected_part, draw_stroke, inner_pixel, span_stroke
from mustela.regions import Polygon

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(
    lambda mask: mask.any()
)


@given(masks)
def test_the_exact_outline_of_a_mask_fills_the_mask(mask: np.ndarray) -> None:
    rings = trace_outline(mask, stride=1)
    polygon = Polygon(tuple(tuple((float(x), float(y)) for x, y in ring) for ring in rings))
    height, width = mask.shape
    assert np.array_equal(polygon.raster((width, height)), mask)


@given(masks)
def test_inner_pixels_are_in_the_mask(mask: np.ndarray) -> None:
    x, y = inner_pixel(Patch(mask), np.random.default_rng(0))
    assert mask[y, x]


def test_the_middle_of_a_thick_patch_is_four_pixels_inside_and_of_a_thin_one_what_is_left() -> None:
    assert Patch(np.ones((11, 9), dtype=np.bool_)).middle.tolist() == [[4, 4], [4, 5], [4, 6]]
    assert Patch(np.ones((3, 3), dtype=np.bool_)).middle.tolist() == [[1, 1]]
    assert Patch(np.ones((2, 1), dtype=np.bool_)).middle.tolist() == [[0, 0], [0, 1]]


@given(masks, st.integers(0, 3))
def test_strokes_turn_on_the_mask(mask: np.ndarray, seed: int) -> None:
    stroke = draw_stroke(Patch(mask), np.random.default_rng(seed), turns=3)
    assert len(stroke) >= 2
    assert all(mask[int(y), int(x)] for x, y in stroke)


def test_a_spanning_stroke_goes_round_a_hole() -> None:
    ring = np.ones((40, 60), dtype=np.bool_)
    ring[10:30, 15:45] = False
    for seed in range(4):
        rng = np.random.default_rng(seed)
        stroke = span_stroke(connected_part(ring, rng), rng)
        assert all(ring[int(y), int(x)] for x, y in stroke)
        low, high = stroke.min(axis=0), stroke.max(axis=0)
        assert low.max() < 2
        assert tuple(high) > (55, 35)
