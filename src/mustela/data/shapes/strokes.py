"""Pixels to put a finger on: inner points and strokes that stay on a mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mustela.data.shapes.outlines import BoolArray, FloatArray
from mustela.data.shapes.patch import Patch

_PROPOSALS = 12
_STEPS = 24
_STRIDE = 2
_PATH_STRIDE = 3


def inner_pixel(patch: Patch, rng: np.random.Generator) -> tuple[int, int]:
    """A random pixel (x, y) of the middle of a patch."""
    x, y = patch.middle[int(rng.integers(len(patch.middle)))]
    return int(x), int(y)


def draw_stroke(patch: Patch, rng: np.random.Generator, *, turns: int) -> FloatArray:
    """A stroke that stays on a patch: (N, 2) pixel centres (x, y), N from 2 to `turns` + 1."""
    inner, places = patch.inner, patch.inner_centres
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
    height, width = mask.shape
    # A frame of pixels outside spares the tests at the borders; one column does for both sides.
    across = width + 1
    free = np.zeros((height + 2, across), dtype=np.bool_)
    free[1:-1, :-1] = mask
    left = free.tobytes()
    steps = [-1] * len(left)
    goal = None if until is None else (until[0] + 1) * across + until[1]
    front = [(start[0] + 1) * across + start[1]]
    steps[front[0]] = 0
    distance = 0
    while front and (goal is None or steps[goal] < 0):
        distance += 1
        wider = []
        for here in front:
            for there in (here - across, here + across, here - 1, here + 1):
                if left[there] and steps[there] < 0:
                    steps[there] = distance
                    wider.append(there)
        front = wider
    return np.array(steps, dtype=np.int16).reshape(free.shape)[1:-1, :-1]
