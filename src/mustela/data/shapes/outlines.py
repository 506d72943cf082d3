"""Outlines of the drawable shapes, as rings of points in the square [-1, 1]², x right and y down."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Rings = tuple[FloatArray, ...]


def _points(pairs: list[tuple[float, float]]) -> Rings:
    return (np.array(pairs, dtype=np.float64),)


def _polar(radius: Callable[[FloatArray], FloatArray], count: int = 96) -> Rings:
    turn = np.linspace(0.0, 2.0 * math.pi, count, endpoint=False)
    reach = radius(turn)
    return (np.stack([reach * np.sin(turn), -reach * np.cos(turn)], axis=1),)


def _spikes(tips: int, inner: float) -> Rings:
    turn = np.arange(2 * tips) * math.pi / tips
    reach = np.where(np.arange(2 * tips) % 2 == 0, 1.0, inner)
    return (np.stack([reach * np.sin(turn), -reach * np.cos(turn)], axis=1),)


def _circle(radius: float = 1.0) -> Rings:
    return _polar(lambda turn: np.full_like(turn, radius), 48)


def _square() -> Rings:
    return _points([(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)])


def _triangle() -> Rings:
    return _points([(0.0, -0.95), (0.98, 0.78), (-0.98, 0.78)])


def _star() -> Rings:
    return _spikes(5, 0.44)


def _cross(arm: float = 0.33) -> Rings:
    corner = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    return _points([*corner, *[(x, -y) for x, y in corner[::-1]], *[(-x, -y) for x, y in corner],
                    *[(-x, y) for x, y in corner[::-1]]])  # fmt: skip


def _ring() -> Rings:
    return (*_circle(), *_circle(0.54))


def _diamond() -> Rings:
    return _points([(0.0, -1.0), (0.66, 0.0), (0.0, 1.0), (-0.66, 0.0)])


def _heart() -> Rings:
    turn = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
    x = 16.0 * np.sin(turn) ** 3
    y = -(13.0 * np.cos(turn) - 5.0 * np.cos(2 * turn) - 2.0 * np.cos(3 * turn) - np.cos(4 * turn))
    return (np.stack([x / 16.5, (y - 2.5) / 15.5], axis=1),)


def _hexagon() -> Rings:
    return _spikes(3, 1.0)


def _crescent() -> Rings:
    outer = np.linspace(0.22 * math.pi, 1.78 * math.pi, 40)
    tip = np.array([np.cos(outer[0]), np.sin(outer[0])])
    centre, reach = 0.52, math.hypot(tip[0] - 0.52, tip[1])
    bite = math.atan2(tip[1], tip[0] - centre)
    inner = np.linspace(2.0 * math.pi - bite, bite, 32)[1:-1]
    arc = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    hollow = np.stack([centre + reach * np.cos(inner), reach * np.sin(inner)], axis=1)
    ring = np.concatenate([arc, hollow])
    return (ring + np.array([0.16, 0.0]),)


def _arrow() -> Rings:
    return _points([(1.0, 0.0), (0.12, -0.82), (0.12, -0.34), (-1.0, -0.34), (-1.0, 0.34), (0.12, 0.34),
                    (0.12, 0.82)])  # fmt: skip


def _leaf() -> Rings:
    rise = np.linspace(-1.0, 1.0, 28)
    side = 0.56 * (1.0 - rise**2) * (1.0 + 0.25 * rise)
    right = np.stack([side, rise], axis=1)
    left = np.stack([-side[::-1], rise[::-1]], axis=1)[1:-1]
    return (np.concatenate([right, left]),)


def _hourglass() -> Rings:
    return _points([(-0.78, -0.95), (0.78, -0.95), (0.16, 0.0), (0.78, 0.95), (-0.78, 0.95), (-0.16, 0.0)])


def _bolt() -> Rings:
    return _points([(0.34, -1.0), (-0.62, 0.16), (-0.06, 0.16), (-0.34, 1.0), (0.64, -0.26), (0.08, -0.26)])


def _gear() -> Rings:
    teeth, rings = 8, []
    for tooth in range(teeth):
        middle = 2.0 * math.pi * tooth / teeth
        for offset, reach in ((-0.26, 0.74), (-0.17, 1.0), (0.17, 1.0), (0.26, 0.74)):
            turn = middle + offset
            rings.append((reach * math.sin(turn), -reach * math.cos(turn)))
    return (*_points(rings), *_circle(0.3))


def _house() -> Rings:
    return _points([(0.0, -0.98), (0.98, -0.12), (0.7, -0.12), (0.7, 0.86), (-0.7, 0.86), (-0.7, -0.12),
                    (-0.98, -0.12)])  # fmt: skip


def _flower() -> Rings:
    return _polar(lambda turn: 0.7 + 0.3 * np.cos(5 * turn))


OUTLINES: dict[str, Callable[[], Rings]] = {
    "arrow": _arrow,
    "bolt": _bolt,
    "circle": _circle,
    "crescent": _crescent,
    "cross": _cross,
    "diamond": _diamond,
    "flower": _flower,
    "gear": _gear,
    "heart": _heart,
    "hexagon": _hexagon,
    "hourglass": _hourglass,
    "house": _house,
    "leaf": _leaf,
    "ring": _ring,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}
"""Drawing functions by the name that world files use."""
