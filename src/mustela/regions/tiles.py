"""A picture cut into tiles: the canvas that suits it, and the transform that regions follow onto it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from mustela.regions.raster import check_size
from mustela.regions.transform import CenterCrop, Fit, Identity, Pad, Resizer, Size, Stretch, resize


@dataclass(frozen=True)
class Tiled(Fit):
    """Resize to fit a canvas of tiles, keeping the aspect ratio, and put the result in its middle, bicubic.

    The encoded picture is the whole canvas, so that a point moves across the border of two tiles as across
    any other place. `grid_wh` is columns and rows of tiles, `fill` the colour of the margins.
    """

    tile_wh: Size
    grid_wh: Size
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        """Check the sizes."""
        for size in (self.source_wh, self.tile_wh, self.grid_wh):
            check_size(size)

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the canvas."""
        return self.tile_wh[0] * self.grid_wh[0], self.tile_wh[1] * self.grid_wh[1]

    @property
    def resized_wh(self) -> Size:
        """Width and height of the picture on the canvas; the side that doesn't fill it is rounded up."""
        (width, height), (across, down) = self.source_wh, self.encoded_wh
        if across * height < down * width:
            return across, math.ceil(height * across / width)
        return math.ceil(width * down / height), down

    @property
    def content_xyxy(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the picture on the canvas, in pixels."""
        (width, height), (across, down) = self.resized_wh, self.encoded_wh
        left, top = (across - width) // 2, (down - height) // 2
        return left, top, left + width, top + height

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return self.resized_wh[0] / self.source_wh[0], self.resized_wh[1] / self.source_wh[1]

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Where the source's upper left corner lies on the canvas."""
        return float(self.content_xyxy[0]), float(self.content_xyxy[1])

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Return the canvas of a picture of `source_wh`; another size is a `RegionError`."""
        self._check_source(image.size)
        canvas = Image.new("RGB", self.encoded_wh, self.fill)
        resized = (resizer or resize)(image, self.resized_wh)
        canvas.paste(resized, self.content_xyxy[:2])
        return canvas

    def tiles(self, image: Image.Image, *, resizer: Resizer | None = None) -> list[Image.Image]:
        """Return the tiles of a picture of `source_wh`, row by row."""
        canvas = self.apply(image, resizer=resizer)
        width, height = self.tile_wh
        return [
            canvas.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
            for row in range(self.grid_wh[1])
            for column in range(self.grid_wh[0])
        ]


Transform: TypeAlias = Identity | Stretch | Pad | CenterCrop | Tiled


def choose_grid(size_wh: Size, tile_wh: Size, grids_wh: Sequence[Size]) -> Size:
    """Choose the grid of tiles whose canvas shows most of a picture, of equals the one with least margin.

    A canvas shows a picture with as many pixels as fit onto it, but no more than the picture has.

    Args:
        size_wh: the picture.
        tile_wh: a tile.
        grids_wh: columns and rows of each grid to choose from, at least one.
    """

    def shown_and_margin(grid: Size) -> tuple[int, int]:
        fit = Tiled(size_wh, tile_wh, grid)
        shown = min(fit.resized_wh[0] * fit.resized_wh[1], size_wh[0] * size_wh[1])
        return shown, shown - fit.encoded_wh[0] * fit.encoded_wh[1]

    return max(grids_wh, key=shown_and_margin)
