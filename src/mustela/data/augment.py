"""Augmentation that carries regions with the picture: mirror images, quarter turns, colour."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance

from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.errors import ConfigError
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

# Words whose truth a mirror image or a turn changes.
_DIRECTIONS = re.compile(
    r"\b(left\w*|right\w*|above|below|top|bottom|upper|lower|under\w*|over|clockwise|counter\w*|horizontal\w*|vertical\w*)\b"
    r"|[左右上下]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a picture and its regions; chances are between 0 and 1.

    Attributes:
        flip: chance of a mirror image (left and right exchanged).
        turn: chance of a quarter turn or a half turn, for pictures without an upright position.
        color: brightness, contrast and saturation change by up to this factor.
    """

    flip: float = 0.0
    turn: float = 0.0
    color: float = 0.0

    def __post_init__(self) -> None:
        for name, share in asdict(self).items():
            if not 0 <= share <= 1:
                raise ConfigError(f"augment_{name} is {share}. It is a share from 0 to 1.")


def augment(
    record: Record, images: list[Image.Image], settings: Augmentation, *, rng: np.random.Generator
) -> tuple[Record, list[Image.Image]]:
    """Change a record of one picture and the picture alike.

    Records whose text speaks of directions are neither mirrored nor turned; records of several pictures or
    none are left alone.

    Args:
        record: the record; a new one is returned.
        images: its pictures, RGB.
        settings: what may happen.
        rng: draws it.
    """
    # All draws are made for every record, so that one record's text doesn't change another's draws.
    flip, turn = rng.random() < settings.flip, rng.random() < settings.turn
    quarter = int(rng.integers(1, 4))
    factors = 1 + settings.color * rng.uniform(-1, 1, 3)
    if len(images) != 1:
        return record, images
    image = images[0]
    if not any(_DIRECTIONS.search(part.text) for part in record.turns):
        if flip:
            record, image = _moved(record, image, Image.Transpose.FLIP_LEFT_RIGHT)
        for _ in range(quarter if turn else 0):
            record, image = _moved(record, image, Image.Transpose.ROTATE_90)
    if settings.color:
        for enhancer, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
        ):
            image = enhancer(image).enhance(float(factor))
    return record, [image]


def _moved(record: Record, image: Image.Image, transpose: Image.Transpose) -> tuple[Record, Image.Image]:
    width, height = image.size
    moved = image.transpose(transpose)

    def point(x: float, y: float) -> tuple[float, float]:
        return (width - x, y) if transpose is Image.Transpose.FLIP_LEFT_RIGHT else (y, width - x)

    def mask(old: Mask) -> Mask:
        pixels = old.raster((width, height))
        turned = pixels[:, ::-1] if transpose is Image.Transpose.FLIP_LEFT_RIGHT else np.rot90(pixels)
        return Mask.from_array(np.ascontiguousarray(turned))

    def annotation(old: RegionAnnotation) -> RegionAnnotation:
        return replace(
            old, region=_move(old.region, point, mask), mask=None if old.mask is None else mask(old.mask)
        )

    turns = tuple(
        Turn(turn.role, turn.text, tuple(annotation(each) for each in turn.regions)) for turn in record.turns
    )
    images = (ImageRef(record.images[0].path, moved.size),)
    return replace(record, images=images, turns=turns), moved


def _move(
    region: Region, point: Callable[[float, float], tuple[float, float]], mask: Callable[[Mask], Mask]
) -> Region:
    if isinstance(region, Mask):
        return mask(region)
    if isinstance(region, Point):
        return Point(*point(region.x, region.y))
    if isinstance(region, Box):
        (x1, y1), (x2, y2) = point(region.x1, region.y1), point(region.x2, region.y2)
        return Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    if isinstance(region, Scribble):
        return replace(region, points=tuple(point(*each) for each in region.points))
    return Polygon(tuple(tuple(point(*each) for each in ring) for ring in region.rings))
