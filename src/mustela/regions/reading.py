"""Turning the numbers of an answer into a box or point of the image, or saying why they are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mustela.constants import COORDINATE_BINS
from mustela.regions.text import dequantise
from mustela.regions.types import Box, Point

Scale: TypeAlias = Literal["bins", "bins_yx", "unit", "pixels", "tokens"]

TOLERANCE = 0.05
"""Numbers up to this share of the image beyond its border are taken for the border."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A region in pixels; a `note` says how the numbers were repaired."""

    region: Box | Point
    note: str = ""


def read_box(
    values: Sequence[float],
    written: Sequence[str],
    size_wh: tuple[float, float],
    scale: Scale,
    *,
    note: str = "",
) -> Reading | str:
    """Return the box of four numbers x1, y1, x2, y2, or the reason why they are none.

    `written` is how the numbers stand in the answer; `note` is what was repaired before.
    """
    fault = _fault(values, written, size_wh, scale)
    if fault:
        return fault
    notes = [note] if note else []
    x1, y1, x2, y2 = (_to_pixels(value, size_wh[axis % 2], scale) for axis, value in enumerate(values))
    if x2 < x1 or y2 < y1:
        notes.append("corners swapped")
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    inside = (
        _clamp(x1, size_wh[0]),
        _clamp(y1, size_wh[1]),
        _clamp(x2, size_wh[0]),
        _clamp(y2, size_wh[1]),
    )
    if inside != (x1, y1, x2, y2):
        if (inside[0] == inside[2] and x1 != x2) or (inside[1] == inside[3] and y1 != y2):
            return "the box lies outside the image"
        notes.append("moved to the image's border")
    return Reading(Box(*inside), "; ".join(notes))


def read_point(
    values: Sequence[float], written: Sequence[str], size_wh: tuple[float, float], scale: Scale
) -> Reading | str:
    """Return the point of two numbers x, y, or the reason why they are none."""
    fault = _fault(values, written, size_wh, scale)
    if fault:
        return fault
    x, y = (_to_pixels(value, size_wh[axis], scale) for axis, value in enumerate(values))
    inside = _clamp(x, size_wh[0]), _clamp(y, size_wh[1])
    return Reading(Point(*inside), "" if inside == (x, y) else "moved to the image's border")


def _fault(
    values: Sequence[float], written: Sequence[str], size_wh: tuple[float, float], scale: Scale
) -> str:
    if not all(math.isfinite(value) for value in values):
        return "a number is not finite"
    for axis, value in enumerate(values):
        full = _full(size_wh[axis % 2], scale)
        if not -TOLERANCE * full <= value <= (1 + TOLERANCE) * full:
            limit = f"{full:g}"
            hint = "; pixels or bins in an answer read as 'unit'?" if scale == "unit" and value > 2 else ""
            return f"{value:g} is out of range (0 to {limit}){hint}"
    shares = len(values) == 4 and all(abs(value) <= 1 for value in values)
    if scale != "unit" and shares and any("." in text for text in written):
        return "the numbers look like shares 0..1; read the answer with scale 'unit'"
    return ""


def _full(side: float, scale: Scale) -> float:
    return {"unit": 1.0, "pixels": float(side)}.get(scale, float(COORDINATE_BINS))


def _to_pixels(value: float, side: float, scale: Scale) -> float:
    if scale in ("bins", "bins_yx"):
        return dequantise(value, side)
    return value * side if scale == "unit" else float(value)


def _clamp(value: float, side: float) -> float:
    return min(max(value, 0.0), float(side))
