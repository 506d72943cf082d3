"""Moving a record's regions with its picture: mirror images, quarter turns, crops and other sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

Move: TypeAlias = Callable[[float, float], tuple[float, float]]
Pixels: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Moved:
    """How a picture was changed: where its points went, and its pixels."""

    image: Image.Image
    point: Move
    pixels: Callable[[Pixels], Pixels]
    width_factor: float = 1.0

    def record(self, record: Record) -> Record:
        """Return a record of one picture with its regions moved alike."""
        turns = tuple(
            Turn(turn.role, turn.text, tuple(self.annotation(each) for each in turn.regions))
            for turn in record.turns
        )
        return replace(record, images=(ImageRef(record.images[0].path, self.image.size),), turns=turns)

    def annotation(self, old: RegionAnnotation) -> RegionAnnotation:
        """Return a region with its mask moved; a mask of which nothing is left is left out."""
        mask = None if old.mask is None else self._mask(old.mask)
        if mask is not None and mask.area(self.image.size) == 0:
            mask = None
        return replace(old, region=self._region(old.region), mask=mask)

    def _mask(self, mask: Mask) -> Mask:
        height, width = mask.size_hw
        return Mask.from_array(np.ascontiguousarray(self.pixels(mask.raster((width, height)))))

    def _region(self, region: Region) -> Region:
        if isinstance(region, Mask):
            return self._mask(region)
        if isinstance(region, Point):
            return Point(*self.point(region.x, region.y))
        if isinstance(region, Box):
            (x1, y1), (x2, y2) = self.point(region.x1, region.y1), self.point(region.x2, region.y2)
            width, height = self.image.size
            # A crop may cut boxes; the other changes leave them inside.
            left, right = max(min(x1, x2), 0.0), min(max(x1, x2), float(width))
            top, bottom = max(min(y1, y2), 0.0), min(max(y1, y2), float(height))
            return Box(left, top, right, bottom)
        if isinstance(region, Scribble):
            points = tuple(self.point(*each) for each in region.points)
            return Scribble(points, region.width * self.width_factor)
        return Polygon(tuple(tuple(self.point(*each) for each in ring) for ring in region.rings))


def mirrored(image: Image.Image) -> Moved:
    """Exchange left and right."""
    width = image.width
    flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Moved(flipped, lambda x, y: (width - x, y), lambda pixels: pixels[:, ::-1])


def quarter_turned(image: Image.Image) -> Moved:
    """Turn to the left by 90 degrees."""
    width = image.width
    turned = image.transpose(Image.Transpose.ROTATE_90)
    return Moved(turned, lambda x, y: (y, width - x), lambda pixels: np.rot90(pixels))


def scaled(image: Image.Image, factor: float) -> Moved:
    """Change the size by a factor; sides are whole pixels, so regions follow the sides that come out."""
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    x_factor, y_factor = size[0] / image.width, size[1] / image.height

    def pixels(old: Pixels) -> Pixels:
        picture = Image.fromarray(old).resize(size, Image.Resampling.NEAREST)
        return np.asarray(picture, dtype=np.bool_)

    return Moved(
        image.resize(size, Image.Resampling.BICUBIC),
        lambda x, y: (x * x_factor, y * y_factor),
        pixels,
        (x_factor * y_factor) ** 0.5,
    )


def cropped(image: Image.Image, window: tuple[int, int, int, int]) -> Moved:
    """Cut out a window `(left, top, right, bottom)` in whole pixels."""
    left, top, right, bottom = window
    return Moved(
        image.crop(window), lambda x, y: (x - left, y - top), lambda pixels: pixels[top:bottom, left:right]
    )


def visible_share(region: Region, size_wh: tuple[int, int], window: tuple[int, int, int, int]) -> float:
    """Return the share of a region that a window of its picture shows; of a box by area, else by pixels."""
    left, top, right, bottom = window
    if isinstance(region, Box):
        width = min(region.x2, right) - max(region.x1, left)
        height = min(region.y2, bottom) - max(region.y1, top)
        whole = (region.x2 - region.x1) * (region.y2 - region.y1)
        return max(width, 0.0) * max(height, 0.0) / whole if whole else 0.0
    if isinstance(region, Point):
        return float(left <= region.x < right and top <= region.y < bottom)
    pixels = region.raster(size_wh)
    whole = int(pixels.sum())
    return float(pixels[top:bottom, left:right].sum() / whole) if whole else 0.0
