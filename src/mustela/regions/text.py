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


def format_box(xyxy: Sequence[float], size_wh: tuple[float, float], *, clamp: Clamp = "edge") -> str:
    """Return `"[x1, y1, x2, y2]"` in bins for a box in pixels; see `quantise` for `clamp` and errors."""
    if len(xyxy) != 4:
        raise RegionError(f"a box has 4 numbers, got {len(xyxy)}.")
    return _bracket([quantise(value, size_wh[axis % 2], clamp=clamp) for axis, value in enumerate(xyxy)])


def format_point(xy: Sequence[float], size_wh: tuple[float, float], *, clamp: Clamp = "edge") -> str:
    """Return `"[x, y]"` in bins for a point in pixels; see `quantise` for `clamp` and errors."""
    if len(xy) != 2:
        raise RegionError(f"a point has 2 numbers, got {len(xy)}.")
    return _bracket([quantise(value, size_wh[axis], clamp=clamp) for axis, value in enumerate(xy)])


def _bracket(bins: Sequence[int]) -> str:
    return f"[{', '.join(map(str, bins))}]"
