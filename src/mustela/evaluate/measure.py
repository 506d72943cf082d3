"""One number of a report: a mean over questions, its interval, and what answering blindly would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mustela.evaluate.intervals import interval
from mustela.evaluate.predictions import Prediction


def measure(
    scores: Sequence[float],
    predictions: Sequence[Prediction],
    *,
    levels: dict[str, float] | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the mean of `scores` (each in [0, 1], one a prediction) with its interval and its blind
    `levels`.

    With `classes` it is the macro average, the mean of the classes' means. Without questions the value is
    0.0.
    """
    bounds = interval(scores, [item.picture for item in predictions], classes=classes, seed=seed)
    return {
        "value": _macro(scores, classes) if classes is not None else _mean(scores),
        "n": len(scores),
        "low": bounds.low,
        "high": bounds.high,
        "interval": bounds.method,
        "levels": levels or {},
    }


def measure_groups(
    scores: Sequence[float], predictions: Sequence[Prediction], *, groups: Sequence[str], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return a measure of the predictions of every group, by the group's name in alphabetical order."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(groups):
        places.setdefault(name, []).append(place)
    return {
        name: measure([scores[i] for i in places[name]], [predictions[i] for i in places[name]], seed=seed)
        for name in sorted(places)
    }


def _mean(scores: Sequence[float]) -> float:
    return float(np.mean(scores)) if len(scores) else 0.0


def _macro(scores: Sequence[float], classes: Sequence[str]) -> float:
    grouped: dict[str, list[float]] = {}
    for score, name in zip(scores, classes, strict=True):
        grouped.setdefault(name, []).append(score)
    return _mean([_mean(group) for group in grouped.values()])
