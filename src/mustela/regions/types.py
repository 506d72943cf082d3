"""The five kinds of region, as frozen values in pixels of the original image.

Coordinates are continuous: x to the right, y down, pixel `i` covers `[i, i + 1)` and has its centre at
`i + 0.5`. The image is the one seen after its EXIF rotation. Rasters are bool arrays `(H, W)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mustela.constants import POINT_RADIUS
from mustela.errors import RegionError
from mustela.regions import raster as fill
from mustela.regions.checks import (
    LARGEST_COORDINATE,
    XY,
    XYXY,
    bounds,
    number,
    outside,
    set_fields,
    short,
    vertices,
)
from mustela.regions.mask import Mask
from mustela.regions.rle import Window

BoolArray: TypeAlias = npt.NDArray[np.bool_]

SCRIBBLE_WIDTH = 5.0


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the image, `(x, y)` in pixels."""

    x: float
    y: float

    def __post_init__(self) -> None:
        """Make the coordinates plain floats; a `RegionError` if they aren't finite numbers."""
        set_fields(self, x=number(self.x, "point x"), y=number(self.y, "point y"))

    def bounds_xyxy(self) -> XYXY:
        """Return `(x, y, x, y)`."""
        return self.x, self.y, self.x, self.y

    def raster(self, size_wh: tuple[int, int]) -> BoolArray:
        """Return the window of `2 * POINT_RADIUS + 1` pixels a side round the point, `(H, W)` bool.

        The window is clipped, and empty when it lies outside the image.
        """
        return _filled(size_wh, *self.window(size_wh))

    def area(self, size_wh: tuple[int, int]) -> int:
        """Return the number of pixels of the raster."""
        return _window_area(*self.window(size_wh))

    def anchor(self, size_wh: tuple[int, int]) -> XY:
        """Return the point itself, moved into the image when it lies on or beyond the border.

        A `RegionError` if even its window lies outside.
        """
        if self.area(size_wh) == 0:
            raise outside("point", size_wh)
        width, height = size_wh
        return min(max(self.x, 0.0), width - 0.5), min(max(self.y, 0.0), height - 0.5)

    def window(self, size_wh: tuple[int, int]) -> Window:
        """Return the columns and rows of the raster as two half-open ranges; (0, 0) where it is empty."""
        width, height = fill.check_size(size_wh)
        column, row = math.floor(self.x), math.floor(self.y)
        return _clip(column - POINT_RADIUS, column + POINT_RADIUS + 1, width), _clip(
            row - POINT_RADIUS, row + POINT_RADIUS + 1, height
        )


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, `x1 <= x2` and `y1 <= y2`; it may reach out of the image."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        """Make the corners plain floats; a `RegionError` if they aren't finite or in order."""
        x1, y1, x2, y2 = self.x1, self.y1, self.x2, self.y2
        if type(x1) is type(y1) is type(x2) is type(y2) is float and (
            -LARGEST_COORDINATE <= x1 <= x2 <= LARGEST_COORDINATE
            and -LARGEST_COORDINATE <= y1 <= y2 <= LARGEST_COORDINATE
        ):
            return  # as readers make them, by the million
        x1, y1, x2, y2 = (
            number(value, f"box {name}") for name, value in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2))
        )
        if x2 < x1 or y2 < y1:
            side = "x2 < x1" if x2 < x1 else "y2 < y1"
            as_given = ", ".join(short(value) for value in (x1, y1, x2, y2))
            as_xyxy = ", ".join(short(value) for value in (x1, y1, x1 + x2, y1 + y2))
            raise RegionError(
                f"box [{as_given}] has {side}. Boxes are [x1, y1, x2, y2] in pixels; "
                f"if yours are [x, y, width, height], this one would be [{as_xyxy}]."
            )
        set_fields(self, x1=x1, y1=y1, x2=x2, y2=y2)

    def bounds_xyxy(self) -> XYXY:
        """Return the corners."""
        return self.x1, self.y1, self.x2, self.y2

    def raster(self, size_wh: tuple[int, int]) -> BoolArray:
        """Return the pixels whose centres lie in `[x1, x2) x [y1, y2)`, `(H, W)` bool.

        A box too thin to hold a centre covers the pixels nearest to its middle. Empty when the box lies
        outside the image.
        """
        return _filled(size_wh, *self.window(size_wh))

    def area(self, size_wh: tuple[int, int]) -> int:
        """Return the number of pixels of the raster."""
        return _window_area(*self.window(size_wh))

    def anchor(self, size_wh: tuple[int, int]) -> XY:
        """Return the centre of the part inside the image; a `RegionError` if there is none."""
        (left, right), (top, bottom) = self.window(size_wh)
        if left == right or top == bottom:
            raise outside("box", size_wh)
        width, height = size_wh
        x = (max(self.x1, 0.0) + min(self.x2, float(width))) / 2
        y = (max(self.y1, 0.0) + min(self.y2, float(height))) / 2
        return (
            x if left <= x < right else (left + right) / 2,
            y if top <= y < bottom else (top + bottom) / 2,
        )

    def window(self, size_wh: tuple[int, int]) -> Window:
        """Return the columns and rows of the raster as two half-open ranges; (0, 0) where it is empty."""
        width, height = fill.check_size(size_wh)
        return fill.pixel_range(self.x1, self.x2, width), fill.pixel_range(self.y1, self.y2, height)


@dataclass(frozen=True, slots=True)
class Scribble:
    """A stroke through `points`, `width` pixels wide, with round ends; one point is a dot."""

    points: tuple[XY, ...]
    width: float = SCRIBBLE_WIDTH

    def __post_init__(self) -> None:
        """Make the numbers plain floats; a `RegionError` without points or with one not finite."""
        points = vertices(self.points, "scribble point")
        width = number(self.width, "scribble width")
        if not points:
            raise RegionError("a scribble needs at least one point [x, y].")
        if width <= 0:
            raise RegionError(f"scribble width is {short(width)}. It is in pixels and above 0.")
        set_fields(self, points=points, width=width)

    def bounds_xyxy(self) -> XYXY:
        """Return the box round the stroke, half its width included."""
        x1, y1, x2, y2 = bounds(self.points)
        half = self.width / 2
        return x1 - half, y1 - half, x2 + half, y2 + half

    def raster(self, size_wh: tuple[int, int]) -> BoolArray:
        """Return the pixels whose centres lie at most half the width from the line, `(H, W)` bool.

        A stroke too thin to hold a centre covers the pixels under its points. Empty when it lies outside the
        image.
        """
        return _at_least_vertices(fill.fill_stroke(self.points, self.width, size_wh), self.points)

    def area(self, size_wh: tuple[int, int]) -> int:
        """Return the number of pixels of the raster."""
        return int(np.count_nonzero(self.raster(size_wh)))

    def anchor(self, size_wh: tuple[int, int]) -> XY:
        """Return the centre of a pixel near the middle; a `RegionError` if the raster is empty."""
        return fill.anchor_of(self.raster(size_wh), "scribble")


@dataclass(frozen=True, slots=True)
class Polygon:
    """One or more closed rings of vertices `((x, y), ...)`; inside is what an odd number of rings encloses.

    A ring within a ring is thus a hole, and separate rings add up.
    """

    rings: tuple[tuple[XY, ...], ...]

    def __post_init__(self) -> None:
        """Make the numbers plain floats; a `RegionError` for rings of fewer than three vertices."""
        rings = tuple(vertices(ring, "polygon vertex") for ring in self.rings)
        if not rings:
            raise RegionError("polygon has no ring. A polygon needs >= 6 numbers, even count, in each ring.")
        for index, ring in enumerate(rings):
            if len(ring) < 3:
                raise RegionError(
                    f"polygon ring {index} has {2 * len(ring)} numbers. "
                    "A polygon needs >= 6 numbers, even count, in each ring."
                )
        set_fields(self, rings=rings)

    def bounds_xyxy(self) -> XYXY:
        """Return the box round all rings."""
        return bounds([vertex for ring in self.rings for vertex in ring])

    def raster(self, size_wh: tuple[int, int]) -> BoolArray:
        """Return the pixels whose centres are inside, `(H, W)` bool.

        A polygon too thin to hold a centre covers the pixels under its vertices. Empty when it lies outside
        the image.
        """
        corners = [vertex for ring in self.rings for vertex in ring]
        return _at_least_vertices(fill.fill_polygon(self.rings, size_wh), corners)

    def area(self, size_wh: tuple[int, int]) -> int:
        """Return the number of pixels of the raster."""
        return int(np.count_nonzero(self.raster(size_wh)))

    def anchor(self, size_wh: tuple[int, int]) -> XY:
        """Return the centre of a pixel near the middle; a `RegionError` if the raster is empty."""
        return fill.anchor_of(self.raster(size_wh), "polygon")


Region: TypeAlias = Point | Box | Scribble | Polygon | Mask


def _clip(start: int, stop: int, side: int) -> tuple[int, int]:
    start, stop = max(start, 0), min(stop, side)
    return (start, stop) if start < stop else (0, 0)


def _window_area(columns: tuple[int, int], rows: tuple[int, int]) -> int:
    return (columns[1] - columns[0]) * (rows[1] - rows[0])


def _filled(size_wh: tuple[int, int], columns: tuple[int, int], rows: tuple[int, int]) -> BoolArray:
    raster = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
    raster[rows[0] : rows[1], columns[0] : columns[1]] = True
    return raster


def _at_least_vertices(raster: BoolArray, points: Sequence[XY]) -> BoolArray:
    """Mark the pixels under the points if no other is marked; the far border counts as inside."""
    if raster.any():
        return raster
    height, width = raster.shape
    for x, y in points:
        if 0 <= x <= width and 0 <= y <= height:
            raster[min(int(y), height - 1), min(int(x), width - 1)] = True
    return raster
