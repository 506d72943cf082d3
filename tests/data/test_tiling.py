"""Grids of tiles, the tokens they give, and points on their canvas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mustela.data.tiling import NAMED_GRIDS, TileTokens, parse_grids, within_budget
from mustela.errors import ConfigError
from mustela.regions import Tiled, choose_grid

SIDES = st.integers(1, 300)


@pytest.mark.parametrize(
    ("text", "grids"),
    [
        ("ferret-ui", ((1, 2), (2, 1))),
        ("1x2, 2x1,3x3", ((1, 2), (2, 1), (3, 3))),
        ("1x2 2x1 1x2", ((1, 2), (2, 1))),
        ("[(16, 32), (32, 16)]", ((2, 2), (4, 1))),
        ("[[8, 16]]", ((1, 1),)),
    ],
)
def test_ways_to_write_grids(text, grids):
    assert parse_grids(text, (8, 16)) == grids


@pytest.mark.parametrize("text", ["", "many", "1x", "0x2", "[(12, 16)]", "1x2;2x1"])
def test_what_is_no_grid(text):
    with pytest.raises(ConfigError, match="image_grid_pinpoints"):
        parse_grids(text, (8, 16))


def test_the_grids_of_ferret_v2():
    grids = NAMED_GRIDS["ferret-v2"]
    lines = {(n, 1) for n in range(1, 7)} | {(1, n) for n in range(1, 7)}
    assert set(grids) == lines | {(2, 2), (2, 3), (3, 2)}


@pytest.mark.parametrize(
    ("size_wh", "grid"),
    [((30, 30), (1, 1)), ((100, 30), (4, 1)), ((60, 30), (2, 1)), ((30, 170), (1, 6)), ((60, 60), (2, 2)),
     ((900, 600), (3, 2)), ((600, 900), (2, 3)), ((4, 4), (1, 1))],
)  # fmt: skip
def test_grids_are_chosen_by_area_and_aspect(size_wh, grid):
    assert choose_grid(size_wh, (32, 32), NAMED_GRIDS["ferret-v2"]) == grid


@given(SIDES, SIDES, st.integers(1, 6), st.integers(1, 6))
def test_the_canvas_holds_the_picture_and_points_come_back(width, height, columns, rows):
    fit = Tiled((width, height), (16, 12), (columns, rows))
    left, top, right, bottom = fit.content_xyxy
    assert 0 <= left < right <= 16 * columns
    assert 0 <= top < bottom <= 12 * rows
    assert (left, right) == (0, 16 * columns) or (top, bottom) == (0, 12 * rows)
    corners = fit.points([(0, 0), (width, height)])
    np.testing.assert_allclose(corners, [(left, top), (right, bottom)])
    np.testing.assert_allclose(fit.inverse_points(corners), [(0, 0), (width, height)], atol=1e-9)


def test_tiles_are_the_canvas_row_by_row():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    fit = Tiled((32, 24), (16, 12), (2, 2))
    tiles = [np.asarray(tile) for tile in fit.tiles(image)]
    joined = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    np.testing.assert_array_equal(joined, np.asarray(image))


@pytest.mark.parametrize(
    ("order", "tokens"), [("flat", 9 + 8 * 4), ("spatial", 9 + 4 * 9), ("spatial_unpad", 9 + 2 * 9)]
)
def test_tokens_of_a_picture_with_margins(order, tokens):
    # 2 x 1 tiles of 4 x 4 tokens; the picture fills the width and half of the height.
    layout = TileTokens(order, (3, 3), (4, 4))
    assert layout.count(Tiled((80, 20), (16, 16), (2, 1))) == tokens
    assert layout.count(None) == 9


def test_a_budget_keeps_the_grids_within_it():
    layout = TileTokens("flat", (4, 4), (4, 4))
    assert within_budget(((1, 1), (2, 1), (2, 2)), layout, 48) == ((1, 1), (2, 1))
    assert within_budget(((1, 1), (2, 2)), layout, None) == ((1, 1), (2, 2))
    with pytest.raises(ConfigError, match=r"image_max_tokens is 40, .* gives 48 tokens"):
        within_budget(((2, 1), (2, 2)), layout, 40)
