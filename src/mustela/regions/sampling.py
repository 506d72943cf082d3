"""Drawing points from the pixels of a region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mustela.errors import RegionError
from mustela.regions.mask import Mask
from mustela.regions.rle import Window, inside_pixels

_GOLDEN = (5**0.5 - 1) / 2


def sample_points(
    raster: npt.NDArray[np.bool_], *, count: int, rng: np.random.Generator | None
) -> npt.NDArray[np.float32]:
    """Return `count` pixel centres of a region as float32 `(count, 2)` rows `(x, y)`.

    `raster` is bool `(H, W)`; coordinates are pixels, a pixel's centre is its index plus 0.5. A region of
    more pixels than `count` gives a subset without repeats; one of fewer gives all its pixels and repeats.
    Points are in row-major order. With `rng` the choice is random, without it (`None`) always the same and
    spread evenly over the region. An empty raster or a `count` below 1 is a `RegionError`.
    """
    if raster.ndim != 2 or raster.dtype != np.bool_:
        raise RegionError(f"a raster is a bool array (H, W), got {raster.dtype} of shape {raster.shape}.")
    pixels = np.flatnonzero(raster)
    chosen = pixels[draw_ranks(len(pixels), count, rng)]
    rows, columns = np.divmod(chosen, raster.shape[1])
    return _centres(columns, rows)


def sample_window(window: Window, *, count: int, rng: np.random.Generator | None) -> npt.NDArray[np.float32]:
    """Return what `sample_points` returns for a raster that is True in a window, without making one."""
    (left, right), (top, bottom) = window
    width = right - left
    rows, columns = np.divmod(draw_ranks(width * (bottom - top), count, rng), max(width, 1))
    return _centres(columns + left, rows + top)


def mask_points(masks: Sequence[Mask], ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the pixel centres of masks at `ranks (N, P)` among their pixels, down the columns: `(N, P, 2)`.

    Each mask's points are in row-major order, as those of `sample_points`.
    """
    heights, widths = np.array([mask.size_hw for mask in masks]).T[..., None]
    columns, rows = np.divmod(inside_pixels([mask.ends for mask in masks], ranks), heights)
    pixels = rows * widths + columns
    pixels.sort(axis=1)
    rows, columns = np.divmod(pixels, widths)
    return _centres(columns, rows)


def draw_ranks(total: int, count: int, rng: np.random.Generator | None) -> npt.NDArray[np.int64]:
    """Return `count` ascending indices of `range(total)`, repeats only where there are fewer.

    They are random, or without `rng` spread evenly. A `total` of 0 or a `count` below 1 is a `RegionError`.
    """
    if count < 1:
        raise RegionError(f"cannot sample {count} points; ask for at least 1.")
    if total == 0:
        raise RegionError("cannot sample points of a region that covers no pixel of the image.")
    chosen: npt.NDArray[np.int64]
    if total > count:
        chosen = _spread(total, count) if rng is None else rng.choice(total, count, replace=False)
    elif total < count:
        missing = count - total
        again = np.arange(missing) * total // missing if rng is None else rng.integers(0, total, missing)
        chosen = np.concatenate([np.arange(total), again])
    else:
        chosen = np.arange(total)
    # Row-major order: who starts with the first point starts at the top of the region, not anywhere in it.
    chosen.sort()
    return chosen


def _centres(columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    points = np.empty((*rows.shape, 2), dtype=np.float32)
    points[..., 0] = columns
    points[..., 1] = rows
    points += np.float32(0.5)
    return points


def _spread(total: int, count: int) -> npt.NDArray[np.int64]:
    """Choose one index in each of `count` equal strata of `range(total)`, all different.

    The place within a stratum follows the golden ratio: a fixed place would put all points of a box whose
    height happens to be a multiple of `count` into one column.
    """
    strata = np.arange(count + 1) * total // count
    place = np.arange(count) * _GOLDEN % 1.0
    return strata[:-1] + (place * np.diff(strata)).astype(np.int64)
