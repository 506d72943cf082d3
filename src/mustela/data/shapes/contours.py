"""Outlines of pixel masks, as polygon rings."""

from __future__ import annotations

import numpy as np

from mustela.data.shapes.outlines import BoolArray

Ring = list[tuple[int, int]]
_SHORT_RING = 24


def trace_outline(mask: BoolArray, *, stride: int = 3) -> list[Ring]:
    """Rings of pixel corners (x, y) round all parts and holes of a mask (H, W), for the even-odd rule.

    Of a ring longer than 24 pixel sides only every `stride`-th corner is kept, as a hand would; with stride 1
    the polygon's raster is the mask itself.
    """
    follow = _sides(mask)
    rings: list[Ring] = []
    while follow:
        start = next(iter(follow))
        ring = [start]
        here = _step(follow, start)
        while here != start:
            ring.append(here)
            here = _step(follow, here)
        rings.append(ring[::stride] if len(ring) > _SHORT_RING else ring)
    return rings


def _sides(mask: BoolArray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Each pixel side between inside and outside, as start corner -> end corners, inside on the right."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}
    neighbours = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, start, end in neighbours:
        rows, columns = np.nonzero(inner & ~neighbour)
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            follow.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    return follow


def _step(follow: dict[tuple[int, int], list[tuple[int, int]]], here: tuple[int, int]) -> tuple[int, int]:
    ends = follow[here]
    end = ends.pop()
    if not ends:
        del follow[here]
    return end
