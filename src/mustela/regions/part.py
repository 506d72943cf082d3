"""The pixels of a region where it is, without a raster of the whole picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mustela.regions.mask import Mask
from mustela.regions.rle import Window
from mustela.regions.types import Box, Point, Region


@dataclass(frozen=True, slots=True)
class Part:
    """A raster cut out of a picture's: `pixels` (h, w) bool, whose first is the picture's `left_top`."""

    left_top: tuple[int, int]
    pixels: npt.NDArray[np.bool_]


def part_of(region: Region, size_wh: tuple[int, int], *, within: Region | None = None) -> Part:
    """Return what is True in `region.raster(size_wh)` and, if they meet anywhere, in that of `within` too."""
    window = _window(region, size_wh)
    if within is not None:
        if isinstance(region, Point) and isinstance(within, Mask):
            # What a point shows is so small that the mask's bounds cost more than its pixels there.
            within.check_size(size_wh)
            both: Window | None = window
        else:
            both = meet(window, _window(within, size_wh))
        if both is not None:
            pixels = _raster(region, size_wh, both) & _raster(within, size_wh, both)
            if pixels.any():
                return Part((both[0][0], both[1][0]), pixels)
    return Part((window[0][0], window[1][0]), _raster(region, size_wh, window))


def _window(region: Region, size_wh: tuple[int, int]) -> Window:
    """Return the columns and rows that a region's pixels lie in."""
    if isinstance(region, Box | Point | Mask):
        return region.window(size_wh)
    return (0, size_wh[0]), (0, size_wh[1])


def meet(first: Window, second: Window) -> Window | None:
    """Return the columns and rows that two windows share, None where there are none."""
    columns, rows = ((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(first, second, strict=True))
    return (columns, rows) if columns[0] < columns[1] and rows[0] < rows[1] else None


def _raster(region: Region, size_wh: tuple[int, int], window: Window) -> npt.NDArray[np.bool_]:
    """Return a region's raster in a window that lies in its own."""
    (left, right), (top, bottom) = window
    if isinstance(region, Box | Point):
        return np.ones((bottom - top, right - left), dtype=np.bool_)
    if isinstance(region, Mask):
        return region.cut(window)
    return region.raster(size_wh)[top:bottom, left:right]
