"""Choosing the point that stands for a box, as in the original (`point_input_sample`)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mustela.errors import ConfigError
from mustela.regions import Mask

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
    pixels_xy = _mask_pixels(mask) if kind and mask is not None else None
    if pixels_xy is None:
        return _center(box_xyxy) if mode == "center" else _gaussian(box_xyxy, rng)
    if anchor == "uniform":
        x, y = pixels_xy[int(rng.integers(len(pixels_xy)))]
        return float(x), float(y)
    near = _center(box_xyxy) if anchor == "center" else _gaussian(box_xyxy, rng)
    return _nearest_pixel(pixels_xy, near)


def _mask_pixels(mask: Mask) -> npt.NDArray[np.int64] | None:
    height, width = mask.size_hw
    rows, columns = np.nonzero(mask.raster((width, height)))
    return np.stack([columns, rows], axis=1) if len(rows) else None


def _nearest_pixel(pixels_xy: npt.NDArray[np.int64], point_xy: tuple[float, float]) -> tuple[float, float]:
    offset = pixels_xy - np.array([int(point_xy[0]), int(point_xy[1])])
    # Of several, the last in reading order, as in the original: hence the search from the end.
    x, y = pixels_xy[-1 - int(np.argmin((offset**2).sum(axis=1)[::-1]))]
    return float(x), float(y)


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
