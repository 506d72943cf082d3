"""Checks and conversions that the kinds of region share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from mustela.errors import RegionError

XY: TypeAlias = tuple[float, float]
XYXY: TypeAlias = tuple[float, float, float, float]

LARGEST_COORDINATE = 1e9
"""In pixels: far beyond any image, near enough for exact arithmetic in double precision."""


def set_fields(region: object, **values: object) -> None:
    """Set fields of a frozen region while it is being made."""
    for name, value in values.items():
        object.__setattr__(region, name, value)


def number(value: object, what: str) -> float:
    """Return a plain float, or raise a `RegionError` that says `what` is no finite number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise RegionError(f"{what} is {value!r}. Coordinates are numbers in pixels.")
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if not abs(result) <= LARGEST_COORDINATE:
        raise RegionError(f"{what} is {result}. Coordinates are finite numbers in pixels.")
    return result


def vertices(points: Sequence[Sequence[float]], what: str) -> tuple[XY, ...]:
    """Return points as tuples of plain floats; a `RegionError` names the one that is none."""
    result = []
    for index, point in enumerate(points):
        if len(point) != 2:
            raise RegionError(f"{what} {index} has {len(point)} numbers. It is [x, y].")
        result.append((number(point[0], f"{what} {index} x"), number(point[1], f"{what} {index} y")))
    return tuple(result)


def bounds(points: Sequence[XY]) -> XYXY:
    """Return the box round points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def short(value: float) -> str:
    """Write a number for a message, without needless digits."""
    return f"{value:g}" if abs(value) < 1e6 else repr(value)


def outside(kind: str, size_wh: tuple[int, int]) -> RegionError:
    """The error of a region without a pixel in the image."""
    return RegionError(f"{kind} covers no pixel of the image of {size_wh[0]} x {size_wh[1]} pixels.")
