"""Pixels to put a finger on: inner points and strokes that stay on a mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mustela.data.shapes.outlines import FloatArray
from mustela.data.shapes.scene import BoolArray

_PROPOSALS = 12
_STEPS = 24
_STRIDE = 2
_PATH_STRIDE = 3


def shrink(mask: BoolArray) -> BoolArray:
    """The pixels of a mask (H, W) whose four neighbours are in the mask as well."""
    padded = np.pad(mask, 1)
    inner: BoolArray = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner


def inner_pixel(mask: BoolArray, rng: np.random.Generator, *, depth: int = 4) -> tuple[int, int]:
    """A random pixel (x, y) of a mask, up to `depth` pixels inside its edge where it is thick enough."""
    inner = mask
    for _ in range(depth):
        shrunk = shrink(inner)
        if not shrunk.any():
            break
        inner = shrunk
    rows, columns = np.nonzero(inner)
    chosen = int(rng.integers(len(rows)))
    return int(columns[chosen]), int(rows[chosen])


def draw_stroke(mask: BoolArray, rng: np.random.Generator, *, turns: int) -> FloatArray:
    """A stroke that stays on the mask: (N, 2) pixel centres (x, y), N from 2 to `turns` + 1."""
    inner = shrink(mask)
    if not inner.any():
        inner = mask
    rows, columns = np.nonzero(inner)
    places = np.stack([columns, rows], axis=1) + 0.5
    stroke = [places[int(rng.integers(len(places)))]]
    ways = np.linspace(0.0, 1.0, _STEPS)[None, :, None]
    for _ in range(turns):
        goals = places[rng.integers(len(places), size=_PROPOSALS)]
        paths = (stroke[-1] + ways * (goals - stroke[-1])[:, None, :]).astype(np.int64)
        clear = np.flatnonzero(inner[paths[..., 1], paths[..., 0]].all(axis=1))
        if len(clear):
            stroke.append(goals[clear[0]])
    if len(stroke) == 1:
        stroke.append(stroke[0] + 0.3)
    return np.array(stroke)


def connected_part(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """The connected part of a mask round a random pixel of it, at half the resolution."""
    coarse = mask[::_STRIDE, ::_STRIDE]
    rows, columns = np.nonzero(coarse)
    if not len(rows):
        return coarse
    start = int(rng.integers(len(rows)))
    part: BoolArray = _flood(coarse, (int(rows[start]), int(columns[start]))) >= 0
    return part


def span_stroke(part: BoolArray, rng: np.random.Generator) -> FloatArray:
    """A stroke (N, 2) that spans a `connected_part` from side to side and top to bottom, in full pixels."""
    rows, columns = np.nonzero(part)
    tips = [int(columns.argmin()), int(rows.argmin()), int(columns.argmax()), int(rows.argmax())]
    first = int(rng.integers(4))
    corners = [(int(rows[tip]), int(columns[tip])) for tip in tips[first:] + tips[:first]]
    path = [corners[0]]
    for here, there in pairwise(corners):
        path += _way(part, here, there)[1:]
    kept = path[:-1:_PATH_STRIDE] + path[-1:]
    return np.array([(column * _STRIDE + 0.5, row * _STRIDE + 0.5) for row, column in kept])


def _way(part: BoolArray, start: tuple[int, int], goal: tuple[int, int]) -> list[tuple[int, int]]:
    """A shortest way over the pixels (row, column) of a connected part."""
    far = _flood(part, goal, until=start)
    path = [start]
    while path[-1] != goal:
        row, column = path[-1]
        options = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        path.append(
            next(
                (y, x)
                for y, x in options
                if 0 <= y < far.shape[0] and 0 <= x < far.shape[1] and far[y, x] == far[row, column] - 1
            )
        )
    return path


def _flood(
    mask: BoolArray, start: tuple[int, int], *, until: tuple[int, int] | None = None
) -> npt.NDArray[np.int16]:
    """Steps from `start` to every pixel of its connected part, -1 elsewhere; stops early at `until`."""
    steps = np.full(mask.shape, -1, dtype=np.int16)
    free = mask.copy()
    front = np.zeros_like(mask)
    front[start] = True
    distance = 0
    while front.any():
        steps[front] = distance
        if until is not None and front[until]:
            break
        free &= ~front
        wider = np.zeros_like(mask)
        wider[1:] = front[:-1]
        wider[:-1] |= front[1:]
        wider[:, 1:] |= front[:, :-1]
        wider[:, :-1] |= front[:, 1:]
        front = wider & free
        distance += 1
    return steps
