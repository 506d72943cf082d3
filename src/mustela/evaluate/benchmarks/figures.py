"""Figures with their 95 % intervals: means of any range, and statistics that are no means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mustela.evaluate.intervals import CONFIDENCE, MIN_PICTURES, RESAMPLES
from mustela.evaluate.measure import measure
from mustela.evaluate.predictions import Prediction

COCO_SIZES = ((32.0**2, "small (< 32²)"), (96.0**2, "medium"), (float("inf"), "large (>= 96²)"))


def measure_range(
    values: Sequence[float], predictions: Sequence[Prediction], *, least: float, most: float, seed: int = 0
) -> dict[str, Any]:
    """Return the mean of values in [least, most] with its interval, as `measure` does for shares.

    The entry `unit` is "points": the figure is no share of anything.
    """
    span = most - least
    found = measure([(value - least) / span for value in values], predictions, seed=seed)
    for key in ("value", "low", "high"):
        found[key] = least + span * found[key]
    if not values:
        found["value"] = 0.0
    return {**found, "unit": "points"}


def measure_statistic(
    rows: NDArray[np.float64],
    predictions: Sequence[Prediction],
    statistic: Callable[[NDArray[np.float64]], float],
    *,
    count: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a statistic of sums over questions, such as F1, with its interval.

    Args:
        rows: (questions, columns); what is summed.
        predictions: one a row; whole pictures are resampled (2000 times, seeded).
        statistic: from the sums (columns,) to a number in [0, 1].
        count: what it is a share of; all questions when None.
        seed: of the resampling.

    Returns:
        A measure; with fewer than 10 pictures its interval is [0, 1], method "none".
    """
    value = statistic(rows.sum(axis=0)) if len(rows) else 0.0
    names = {name: place for place, name in enumerate(sorted({item.picture for item in predictions}))}
    found: dict[str, Any] = {"value": value, "n": len(rows) if count is None else count}
    if len(names) < MIN_PICTURES:
        return {**found, "low": 0.0, "high": 1.0, "interval": "none", "levels": {}}
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, [names[item.picture] for item in predictions], rows)
    rng = np.random.default_rng(seed)
    drawn = [statistic(sums[rng.integers(len(sums), size=len(sums))].sum(axis=0)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    method = "bootstrap over pictures"
    return {**found, "low": float(low), "high": float(high), "interval": method, "levels": {}}


def ratio(part: float, whole: float) -> float:
    """Return part / whole, 0 for nothing."""
    return float(part / whole) if whole else 0.0


def coco_size(area: float) -> str:
    """Return the name of an object's size in pixels², in COCO's three classes."""
    return next(name for limit, name in COCO_SIZES if area < limit)
