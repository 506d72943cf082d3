"""Confidence intervals for fractions and means over questions that share pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 2000
MIN_PICTURES = 10


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and the method that gave it: "bootstrap over pictures", "Wilson" or "none"."""

    low: float
    high: float
    method: str


def wilson(successes: float, total: int) -> Interval:
    """Return the Wilson score interval of a fraction; without questions it is [0, 1].

    Source: Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference.
    """
    if total == 0:
        return Interval(0.0, 1.0, "none")
    share = successes / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    centre = share + _Z**2 / (2 * total)
    scale = 1 + _Z**2 / total
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale), "Wilson")


def interval(
    scores: Sequence[float], pictures: Sequence[str], *, classes: Sequence[str] | None = None, seed: int = 0
) -> Interval:
    """Return the 95 % interval of the mean of `scores` (each in [0, 1]).

    Questions about one picture are not independent, so whole pictures are resampled (percentile bootstrap,
    2000 resamples, seeded). With fewer than 10 pictures, or when all scores are 0 or all are 1 (where
    resampling knows no spread), it is the Wilson interval. With `classes` the mean is the macro average: the
    mean over the classes of the mean score in a class.
    """
    total = len(scores)
    values = np.asarray(scores, dtype=np.float64)
    names = sorted(set(pictures))
    if total == 0:
        return wilson(0.0, 0)
    kinds = sorted(set(classes)) if classes is not None else [""]
    class_index = _indices(classes, kinds) if classes is not None else np.zeros(total, dtype=np.int64)
    if len(names) < MIN_PICTURES or values.min() == values.max():
        mean = float(np.mean([values[class_index == index].mean() for index in range(len(kinds))]))
        return wilson(mean * total, total)
    picture_index = _indices(pictures, names)
    sums = np.zeros((len(names), len(kinds)))
    counts = np.zeros_like(sums)
    np.add.at(sums, (picture_index, class_index), values)
    np.add.at(counts, (picture_index, class_index), 1.0)
    means = _resampled_means(sums, counts, seed=seed)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high), "bootstrap over pictures")


def _indices(values: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    place = {name: index for index, name in enumerate(names)}
    return np.asarray([place[value] for value in values], dtype=np.int64)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], *, seed: int
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    pictures = len(sums)
    means: list[NDArray[np.float64]] = []
    chunk = max(1, min(RESAMPLES, 4_000_000 // pictures))
    done = 0
    while done < RESAMPLES:
        size = min(chunk, RESAMPLES - done)
        weights = rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=size).astype(np.float64)
        drawn = weights @ counts
        with_any = drawn > 0
        per_class = np.divide(weights @ sums, drawn, out=np.zeros_like(drawn), where=with_any)
        means.append(per_class.sum(axis=1) / np.maximum(1, with_any.sum(axis=1)))
        done += size
    return np.concatenate(means)


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference on the same questions: its 95 % interval, and the two-sided p of no difference."""

    low: float
    high: float
    p: float


def paired_difference(
    differences: Sequence[float], pictures: Sequence[str], *, seed: int = 0
) -> PairedDifference:
    """Return the interval of a mean of paired differences, by resampling whole pictures (2000 times, seeded).

    p is twice the share of resampled means on the other side of 0 (at 0 counts for both), at least 1 / 2000:
    the paired bootstrap test. Source: Efron and Tibshirani 1993, chapter 16; Koehn 2004.
    """
    names = {name: index for index, name in enumerate(sorted(set(pictures)))}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for difference, picture in zip(differences, pictures, strict=True):
        sums[names[picture]] += difference
        counts[names[picture]] += 1
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(names), size=len(names))
        means.append(sums[drawn].sum() / counts[drawn].sum())
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    values = np.asarray(means)
    smaller, larger = float(np.mean(values <= 0)), float(np.mean(values >= 0))
    return PairedDifference(float(low), float(high), min(1.0, max(1 / RESAMPLES, 2 * min(smaller, larger))))
