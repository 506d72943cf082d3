"""Grids of tiles by name or by hand, and how many tokens a tiled picture gives the language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mustela.errors import ConfigError
from mustela.regions import Size, Tiled

TileOrder = Literal["flat", "spatial", "spatial_unpad"]

# Columns x rows. Ferret-UI (You et al. 2024, section 3.3) cuts a screen in two, along its longer side.
NAMED_GRIDS: dict[str, tuple[Size, ...]] = {
    "ferret-ui": ((1, 2), (2, 1)),
    "ferret-v2": (
        (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1),
        (2, 2), (2, 3), (3, 2),
    ),
}  # fmt: skip
_PAIR = re.compile(r"[(\[]?\s*(\d+)\s*[x,]\s*(\d+)\s*[)\]]?")
_LIST = re.compile(rf"\[?\s*{_PAIR.pattern}(?:\s*[,\s]\s*{_PAIR.pattern})*\s*\]?")


def parse_grids(text: str, tile_wh: Size) -> tuple[Size, ...]:
    """Read `--image_grid_pinpoints`.

    Args:
        text: a name of `NAMED_GRIDS`; tiles, columns x rows, `1x2, 2x1, 2x2`; or canvases in pixels, width
            and height, `[(336, 672), (672, 336)]`, each a multiple of the tile.
        tile_wh: a tile in pixels.

    Raises:
        ConfigError: it is none of these, or a canvas is no multiple of the tile.
    """
    if text in NAMED_GRIDS:
        return NAMED_GRIDS[text]
    if not _LIST.fullmatch(text.strip()):
        names = ", ".join(sorted(NAMED_GRIDS))
        raise ConfigError(
            f"image_grid_pinpoints is {text!r}. Give a name ({names}), columns x rows of tiles such as"
            ' "1x2, 2x1, 2x2", or widths and heights in pixels such as "[(336, 672), (672, 336)]".'
        )
    pairs = [(int(first), int(second)) for first, second in _PAIR.findall(text)]
    pixels = "(" in text or "[[" in text
    grids = []
    for pair in pairs:
        if pixels and any(side % tile for side, tile in zip(pair, tile_wh, strict=True)):
            raise ConfigError(
                f"image_grid_pinpoints: ({pair[0]}, {pair[1]}) is no multiple of the tile,"
                f" {tile_wh[0]} wide and {tile_wh[1]} high (resized_image_w, resized_image_h)."
            )
        grid = (pair[0] // tile_wh[0], pair[1] // tile_wh[1]) if pixels else pair
        if min(grid) < 1:
            raise ConfigError(f"image_grid_pinpoints: a grid of {pair[0]} x {pair[1]} has no tiles.")
        grids.append(grid)
    return tuple(dict.fromkeys(grids))


@dataclass(frozen=True)
class TileTokens:
    """How tokens of the overview and of the tiles are laid out for the language model.

    The overview comes first, row by row. `flat`: then every tile by itself, row by row. `spatial`: then the
    tiles joined to one map, row by row, with a token for a new line behind each row. `spatial_unpad`: the
    same without the rows and columns that are all margin.

    Attributes:
        order: see above.
        overview_hw: rows and columns of tokens of the overview.
        tile_hw: rows and columns of tokens of a tile.
    """

    order: TileOrder
    overview_hw: tuple[int, int]
    tile_hw: tuple[int, int]

    def count(self, fit: Tiled | None) -> int:
        """Return the tokens of a picture; None: it has no tiles."""
        overview = self.overview_hw[0] * self.overview_hw[1]
        if fit is None:
            return overview
        columns, rows = fit.grid_wh
        map_hw = rows * self.tile_hw[0], columns * self.tile_hw[1]
        if self.order == "flat":
            return overview + map_hw[0] * map_hw[1]
        if self.order == "spatial":
            return overview + map_hw[0] * (map_hw[1] + 1)
        left, top, right, bottom = kept_cells(fit.content_xyxy, fit.encoded_wh, map_hw)
        return overview + (bottom - top) * (right - left + 1)

    def most(self, grid_wh: Size) -> int:
        """Return the tokens of a picture that fills a grid."""
        return self.count(None if grid_wh == (1, 1) else Tiled(grid_wh, (1, 1), grid_wh))


def kept_cells(
    content_xyxy: Sequence[int], canvas_wh: Size, map_hw: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the cells of a canvas that show some of the picture."""
    left, top, right, bottom = content_xyxy
    rows, columns = map_hw
    width, height = canvas_wh
    return (
        left * columns // width,
        top * rows // height,
        -(-right * columns // width),
        -(-bottom * rows // height),
    )


def within_budget(grids_wh: Sequence[Size], tokens: TileTokens, budget: int | None) -> tuple[Size, ...]:
    """Return the grids that give at most `budget` tokens a picture; None: all.

    Raises:
        ConfigError: none does.
    """
    if budget is None:
        return tuple(grids_wh)
    kept = tuple(grid for grid in grids_wh if tokens.most(grid) <= budget)
    if not kept:
        least = min(tokens.most(grid) for grid in grids_wh)
        raise ConfigError(
            f"image_max_tokens is {budget}, but the smallest grid of image_grid_pinpoints gives {least}"
            " tokens a picture. Raise it, or add a smaller grid such as 1x1."
        )
    return kept
