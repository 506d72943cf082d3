"""Filling shapes on the pixel grid, exactly and without loops over pixels.

One convention holds everywhere: pixel `(column i, row j)` covers `[i, i+1) x [j, j+1)` and belongs to a
shape when its centre `(i + 0.5, j + 0.5)` does. An edge that runs exactly through a centre counts as inside
on the left and upper side only, so two shapes that share an edge never share a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mustela.errors import RegionError
from mustela.regions.checks import outside

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Ring = Sequence[tuple[float, float]]


def check_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Return `(width, height)` as plain ints, or raise a `RegionError` for a size without pixels."""
    width, height = int(size_wh[0]), int(size_wh[1])
    if width < 1 or height < 1:
        raise RegionError(
            f"image size {width} x {height} has no pixels. Sizes are (width, height), both at least 1."
        )
    return width, height


def pixel_range(low: float, high: float, side: int) -> tuple[int, int]:
    """Return the half-open range of the pixels of a side whose centres lie in `[low, high)`.

    An interval that touches the image but holds no centre yields the one pixel nearest to its middle. An
    interval that lies wholly outside yields an empty range.
    """
    if high < 0 or low > side:
        return 0, 0
    low, high = max(low, 0.0), min(high, float(side))
    start, stop = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if start < stop:
        return start, stop
    nearest = min(side - 1, math.floor((low + high) / 2))
    return nearest, nearest + 1


def fill_polygon(rings: Sequence[Ring], size_wh: tuple[int, int]) -> BoolArray:
    """Fill rings by the even-odd rule; `(H, W)` bool, True where a pixel's centre is inside.

    Every edge toggles, in each row it crosses, all pixels to its right; the parity of the toggles is the
    answer.
    """
    width, height = check_size(size_wh)
    starts = np.concatenate([np.asarray(ring, dtype=np.float64) for ring in rings])
    ends = np.concatenate([np.roll(np.asarray(ring, dtype=np.float64), -1, axis=0) for ring in rings])
    upward = starts[:, 1] > ends[:, 1]
    top = np.where(upward[:, None], ends, starts)
    bottom = np.where(upward[:, None], starts, ends)

    first_row = np.clip(np.ceil(top[:, 1] - 0.5), 0, height).astype(np.int64)
    stop_row = np.clip(np.ceil(bottom[:, 1] - 0.5), 0, height).astype(np.int64)
    edge, rows = _expand(first_row, stop_row)
    if len(rows) == 0:
        return np.zeros((height, width), dtype=np.bool_)
    along = (rows + 0.5 - top[edge, 1]) / (bottom[edge, 1] - top[edge, 1])
    crossing = top[edge, 0] + along * (bottom[edge, 0] - top[edge, 0])
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    return _fill_runs(rows, columns, np.ones(len(rows), dtype=np.int32), (width, height), even_odd=True)


def fill_stroke(points: Ring, width_px: float, size_wh: tuple[int, int]) -> BoolArray:
    """Fill a polyline of a given width with round ends and joints; `(H, W)` bool.

    A pixel is inside when its centre is at most `width_px / 2` from the line. Each piece of the line is a
    capsule, hence convex, hence one interval a row: the intervals of all pieces and rows are added up at
    once.
    """
    width, height = check_size(size_wh)
    radius = width_px / 2
    line = np.asarray(points, dtype=np.float64)
    starts, ends = (line, line) if len(line) == 1 else (line[:-1], line[1:])
    top, bottom = np.minimum(starts[:, 1], ends[:, 1]) - radius, np.maximum(starts[:, 1], ends[:, 1]) + radius
    first_row = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    stop_row = np.clip(np.floor(bottom - 0.5) + 1, 0, height).astype(np.int64)
    piece, rows = _expand(first_row, stop_row)
    left, right = _capsule_interval(starts[piece], ends[piece], radius, rows.astype(np.float64) + 0.5)
    covered = left <= right
    first = np.clip(np.ceil(left[covered] - 0.5), 0, width).astype(np.int64)
    stop = np.clip(np.floor(right[covered] - 0.5) + 1, 0, width).astype(np.int64)
    rows, first, stop = rows[covered][first < stop], first[first < stop], stop[first < stop]
    if len(rows) == 0:
        return np.zeros((height, width), dtype=np.bool_)
    steps = np.repeat(np.array([1, -1], dtype=np.int32), len(rows))
    return _fill_runs(
        np.concatenate([rows, rows]), np.concatenate([first, stop]), steps, (width, height), even_odd=False
    )


def _expand(first_row: IntArray, stop_row: IntArray) -> tuple[IntArray, IntArray]:
    """List all (piece, row) of pieces that reach over rows `first_row <= row < stop_row`."""
    count = np.maximum(stop_row - first_row, 0)
    piece = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return piece, first_row[piece] + np.arange(len(piece)) - before[piece]


def _fill_runs(
    rows: IntArray,
    columns: IntArray,
    steps: npt.NDArray[np.int32],
    size_wh: tuple[int, int],
    *,
    even_odd: bool,
) -> BoolArray:
    """Add `steps` at pixels and mark where the running sum along the row is odd, or above 0.

    The steps of each row cancel out, so that the sum may run on from row to row. Only the window that holds
    them is looked at; column `width` closes runs that reach the border.
    """
    width, height = size_wh
    low_row, low_column = int(rows.min()), int(columns.min())
    window_hw = (int(rows.max()) + 1 - low_row, int(columns.max()) + 1 - low_column)
    sums = np.zeros(window_hw[0] * window_hw[1], dtype=np.int32)
    np.add.at(sums, (rows - low_row) * window_hw[1] + (columns - low_column), steps)
    np.cumsum(sums, out=sums)
    inside = ((sums & 1) != 0 if even_odd else sums > 0).reshape(window_hw)[:, :-1]
    raster = np.zeros((height, width), dtype=np.bool_)
    raster[low_row : low_row + window_hw[0], low_column : low_column + window_hw[1] - 1] = inside
    return raster


def _capsule_interval(
    starts: FloatArray, ends: FloatArray, radius: float, rows: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return where capsules begin and end in rows, both `(N,)`; (+inf, -inf) where they miss."""
    lefts, rights = [], []
    for centre in (starts, ends):
        reach_squared = radius**2 - (rows - centre[:, 1]) ** 2
        reach = np.sqrt(np.maximum(reach_squared, 0.0))
        lefts.append(np.where(reach_squared >= 0, centre[:, 0] - reach, np.inf))
        rights.append(np.where(reach_squared >= 0, centre[:, 0] + reach, -np.inf))

    direction = ends - starts
    length = np.hypot(direction[:, 0], direction[:, 1])
    unit = direction / np.where(length > 0, length, 1.0)[:, None]
    relative_row = rows - starts[:, 1]
    # The rectangle between the discs: 0 <= along <= length and -radius <= across <= radius, each linear in x.
    low_a, high_a = _solve_band(unit[:, 0], unit[:, 1] * relative_row, 0.0, length)
    low_b, high_b = _solve_band(-unit[:, 1], unit[:, 0] * relative_row, -radius, radius)
    low, high = np.maximum(low_a, low_b), np.minimum(high_a, high_b)
    hit = (low <= high) & (length > 0)
    lefts.append(np.where(hit, low + starts[:, 0], np.inf))
    rights.append(np.where(hit, high + starts[:, 0], -np.inf))
    return np.minimum.reduce(lefts), np.maximum.reduce(rights)


def _solve_band(
    slope: FloatArray, constant: FloatArray, low: float, high: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Interval of x with `low <= slope * x + constant <= high`; (+inf, -inf) where there is none."""
    # Below this slope the band is as good as parallel to the row: its crossing would lie 1e9 radii away.
    flat = np.abs(slope) < 1e-9
    safe = np.where(flat, 1.0, slope)
    at_low, at_high = (low - constant) / safe, (high - constant) / safe
    inside = (constant >= low) & (constant <= high)
    first = np.where(flat, np.where(inside, -np.inf, np.inf), np.minimum(at_low, at_high))
    last = np.where(flat, np.where(inside, np.inf, -np.inf), np.maximum(at_low, at_high))
    return first, last


def anchor_of(raster: BoolArray, kind: str) -> tuple[float, float]:
    """Return the centre `(x, y)` of the set pixel nearest to the centroid of all set pixels.

    A `RegionError` that names the `kind` of region if no pixel is set.
    """
    columns = raster.sum(axis=0)
    total = int(columns.sum())
    if total == 0:
        raise outside(kind, (raster.shape[1], raster.shape[0]))
    rows = raster.sum(axis=1)
    centre_x = float((columns * np.arange(len(columns))).sum()) / total
    centre_y = float((rows * np.arange(len(rows))).sum()) / total
    column, row = round(centre_x), round(centre_y)
    if not raster[row, column]:
        ys, xs = np.nonzero(raster)
        nearest = int(np.argmin((xs - centre_x) ** 2 + (ys - centre_y) ** 2))
        column, row = int(xs[nearest]), int(ys[nearest])
    return column + 0.5, row + 0.5
