"""One-to-one matching of predicted with true boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mustela.regions import box_iou

BoxXYXY = tuple[float, float, float, float]
IOU_CONVENTION = (
    "continuous coordinates: a side is x2 - x1, without +1; a threshold is met when IoU >= threshold"
)


def match_one_to_one(values: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the one-to-one matching with the greatest sum of `values`.

    values: (N, M). min(N, M) pairs, in the order of the rows. Exact: shortest augmenting paths with
        potentials (the Hungarian method), O(min² · max).
    """
    rows, columns = values.shape
    if rows == 0 or columns == 0:
        return []
    if rows > columns:
        return sorted((row, column) for column, row in match_one_to_one(values.T))
    cost = -values
    row_potential = np.zeros(rows + 1)
    column_potential = np.zeros(columns + 1)
    row_of = np.zeros(columns + 1, dtype=np.int64)  # 1-based; 0 = free. Column 0 holds the row being placed.
    for row in range(1, rows + 1):
        row_of[0] = row
        current = 0
        shortest = np.full(columns + 1, np.inf)
        previous = np.zeros(columns + 1, dtype=np.int64)
        done = np.zeros(columns + 1, dtype=bool)
        while row_of[current]:
            done[current] = True
            here = row_of[current]
            reduced = cost[here - 1] - row_potential[here] - column_potential[1:]
            better = ~done[1:] & (reduced < shortest[1:])
            shortest[1:][better] = reduced[better]
            previous[1:][better] = current
            nearest = 1 + int(np.argmin(np.where(done[1:], np.inf, shortest[1:])))
            step = shortest[nearest]
            row_potential[row_of[done]] += step
            column_potential[done] -= step
            shortest[~done] -= step
            current = nearest
        while current:
            row_of[current] = row_of[previous[current]]
            current = int(previous[current])
    return sorted((int(row_of[column]) - 1, column - 1) for column in range(1, columns + 1) if row_of[column])


def matched_ious(predicted: Sequence[BoxXYXY], truth: Sequence[BoxXYXY]) -> NDArray[np.float64]:
    """Return the IoU of every pair of the best one-to-one matching, with zeros for what has no partner.

    Length max(len(predicted), len(truth)), so that a missing box and a box too many both cost: the mean of
    this is the mean IoU of the question, the share of entries >= t its score at threshold t.
    """
    result = np.zeros(max(len(predicted), len(truth)))
    overlaps = box_iou(list(predicted), list(truth))
    for index, (row, column) in enumerate(match_one_to_one(overlaps)):
        result[index] = overlaps[row, column]
    return result
