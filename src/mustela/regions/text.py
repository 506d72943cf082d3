"""Coordinates as text: pixels to the 0..999 grid and back.

Training, answers, evaluation and drawing all go through these functions, so there is one convention: a
coordinate in text is the share of the image's side in thousandths, rounded down, always in the frame of the
original image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from mustela.constants import COORDINATE_BINS
from mustela.errors import RegionError

Clamp: TypeAlias = Literal["edge", "last_pixel"]

# A coordinate that came out of `dequantise` falls short of its bin by rounding at most this much; without the
# allowance, reading and writing a box again would drift to the upper left.
_ROUNDING = 1e-9


def quantise(value: float, side: float, *, clamp: Clamp = "edge") -> int:
    """Return the bin 0..999 of a coordinate in pixels of an image side.

    `clamp="edge"`: `floor(value * 1000 / side)`, kept in 0..999, so the far edge of the image is 999.
    `clamp="last_pixel"`: as Ferret's weights were trained, bit for bit: the value is first kept in `[0,
    side - 1]`, then multiplied by `1000 / side` and truncated. Values or sides that aren't finite numbers,
    and sides not above 0, are a `RegionError`.
    """
    if not math.isfinite(value) or not side > 0 or not math.isfinite(side):
        raise RegionError(f"cannot write coordinate {value} of a side of {side} pixels as text.")
    if clamp == "last_pixel":
        return int(max(0, min(value, side - 1)) * (COORDINATE_BINS / side))
    return max(0, min(COORDINATE_BINS - 1, math.floor(value * COORDINATE_BINS / side + _ROUNDING)))


def dequantise(bin_index: float, side: float) -> float:
    """Return the coordinate in pixels, `bin_index * side / 1000`; decimals are taken as they are."""
    return bin_index * side / COORDINATE_BINS


def quantise_all(
    values: Sequence[float], size_wh: tuple[float, float], *, clamp: Clamp = "edge"
) -> list[int]:
    """Return the bins of `x, y, x, y, ...`, each as `quantise` gives it."""
    width, height = size_wh
    # Of finite numbers alone a finite sum can come, and then nothing needs to be looked at one by one.
    if clamp != "edge" or not (width > 0 and height > 0 and math.isfinite(sum(values) + width + height)):
        return [quantise(value, size_wh[axis % 2], clamp=clamp) for axis, value in enumerate(values)]
    bins = [
        int(value * COORDINATE_BINS / (height if axis % 2 else width) + _ROUNDING)
        for axis, value in enumerate(values)
    ]
    last = COORDINATE_BINS - 1
    return [0 if number < 0 else last if number > last else number for number in bins]


def format_box(xyxy: Sequence[float], size_wh: tuple[float, float], *, clamp: Clamp = "edge") -> str:
    """Return `"[x1, y1, x2, y2]"` in bins for a box in pixels; see `quantise` for `clamp` and errors."""
    if len(xyxy) != 4:
        raise RegionError(f"a box has 4 numbers, got {len(xyxy)}.")
    return str(quantise_all(xyxy, size_wh, clamp=clamp))


def format_point(xy: Sequence[float], size_wh: tuple[float, float], *, clamp: Clamp = "edge") -> str:
    """Return `"[x, y]"` in bins for a point in pixels; see `quantise` for `clamp` and errors."""
    if len(xy) != 2:
        raise RegionError(f"a point has 2 numbers, got {len(xy)}.")
    return str(quantise_all(xy, size_wh, clamp=clamp))
