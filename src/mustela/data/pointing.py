"""Choosing the point that stands for a box, as in the original (`point_input_sample`)."""

from __future__ import annotations

from typing import Final

import numpy as np

from mustela.errors import ConfigError
from mustela.regions import Mask
from mustela.regions.part import Part, part_of

POINT_INPUT_SAMPLES: Final = (
    "center",
    "gaussian",
    "segment_mask|center",
    "segment_mask|gaussian",
    "segment_mask|uniform",
)

_SPREAD = 0.15  # standard deviation of a gaussian point, as a share of the box's side
_MAX_TRIES = 100  # a try lies inside 998 times of 1000

BoxXyxy = tuple[float, float, float, float]


def check_point_input_sample(mode: str) -> str:
    """Return the mode, or raise a `ConfigError` that names the choices."""
    if mode not in POINT_INPUT_SAMPLES:
        raise ConfigError(
            f"point_input_sample is {mode!r}. Choose one of: {', '.join(map(repr, POINT_INPUT_SAMPLES))}."
        )
    return mode


def choose_point(
    box_xyxy: BoxXyxy, mask: Mask | None, *, mode: str, rng: np.random.Generator
) -> tuple[float, float]:
    """Return a point (x, y) in pixels for a box that lies inside its picture.

    `center` is the box's centre and `gaussian` a normal draw around it (standard deviation 0.15 of each side,
    redrawn until inside the box). `segment_mask|center` and `segment_mask|gaussian` take the mask's pixel
    nearest to such a point, `segment_mask|uniform` any pixel of the mask; without a mask, or with an empty
    one, these three draw as `gaussian`. A pixel is named by its column and row, as in the original.
    """
    kind, _, anchor = mode.rpartition("|")
    size_wh = (0, 0) if mask is None else mask.size_hw[::-1]
    if not kind or mask is None or not mask.area(size_wh):
        return _center(box_xyxy) if mode == "center" else _gaussian(box_xyxy, rng)
    if anchor == "uniform":
        part = part_of(mask, size_wh)
        inside = np.flatnonzero(part.pixels)
        return _place(part, int(inside[rng.integers(len(inside))]))
    near = _center(box_xyxy) if anchor == "center" else _gaussian(box_xyxy, rng)
    return _nearest_pixel(mask, near)


def _nearest_pixel(mask: Mask, point_xy: tuple[float, float]) -> tuple[float, float]:
    column, row = map(int, point_xy)
    height, width = mask.size_hw
    if 0 <= column < width and 0 <= row < height and mask.holds(column, row):
        return float(column), float(row)
    part = part_of(mask, (width, height))
    inside = np.flatnonzero(part.pixels)
    rows, columns = np.divmod(inside, part.pixels.shape[1])
    column, row = column - part.left_top[0], row - part.left_top[1]
    away = (columns - column) ** 2 + (rows - row) ** 2
    # Of several, the last in reading order, as in the original: hence the search from the end.
    return _place(part, int(inside[-1 - int(np.argmin(away[::-1]))]))


def _place(part: Part, pixel: int) -> tuple[float, float]:
    """Return where a pixel of the part, numbered in reading order, lies in the picture."""
    row, column = divmod(pixel, part.pixels.shape[1])
    return float(part.left_top[0] + column), float(part.left_top[1] + row)


def _center(box_xyxy: BoxXyxy) -> tuple[float, float]:
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def _gaussian(box_xyxy: BoxXyxy, rng: np.random.Generator) -> tuple[float, float]:
    x1, y1, x2, y2 = box_xyxy
    center_x, center_y = _center(box_xyxy)
    for _ in range(_MAX_TRIES):
        x, y = rng.normal(center_x, _SPREAD * (x2 - x1)), rng.normal(center_y, _SPREAD * (y2 - y1))
        if x1 <= x <= x2 and y1 <= y <= y2:
            return float(x), float(y)
    return center_x, center_y
