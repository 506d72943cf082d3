"""Scores of predictions: one function a kind of question, and all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mustela.evaluate.answers import normalise_answer, yes_or_no
from mustela.evaluate.grounding import score_boxes
from mustela.evaluate.intervals import CONFIDENCE
from mustela.evaluate.matching import IOU_CONVENTION
from mustela.evaluate.measure import measure, measure_groups
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import KINDS

MAX_CLASSES = 100
ANOTHER_ANSWER = "(another answer)"


def score_predictions(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """Return the metrics of an evaluation, ready for `metrics.json`.

    The top level holds the five fractions; a kind without questions has 0.0 there and `n` 0 below. `kinds`
    holds the detail of every kind that has questions: measures with `value`, `n`, `low`, `high`, `interval`
    (the method of the 95 % interval) and `levels` (what answering blindly would give). All numbers are
    finite.
    """
    by_kind = {kind: [item for item in predictions if item.kind == kind] for kind in KINDS}
    detail: dict[str, Any] = {}
    for kind, items in by_kind.items():
        if not items:
            continue
        if kind == "referring":
            detail[kind] = score_referring(items, seed=seed)
        elif kind in ("presence", "relation"):
            detail[kind] = score_yes_no(items, seed=seed)
        elif kind in ("grounding", "detection"):
            detail[kind] = score_boxes(items, seed=seed)
        else:
            detail[kind] = score_text(items, seed=seed)
    return {
        "referring_accuracy": _value(detail, "referring", "accuracy"),
        "referring_macro_accuracy": _value(detail, "referring", "macro_accuracy"),
        "grounding_acc_50": _value(detail, "grounding", "acc_50"),
        "presence_accuracy": _value(detail, "presence", "accuracy"),
        "parse_failure_rate": _value(detail, "grounding", "parse_failure_rate"),
        "questions": {"total": len(predictions), **{kind: len(items) for kind, items in by_kind.items()}},
        "pictures": len({item.picture for item in predictions}),
        "confidence": CONFIDENCE,
        "iou_convention": IOU_CONVENTION,
        "kinds": detail,
    }


def _value(detail: dict[str, Any], kind: str, name: str) -> float:
    return float(detail[kind][name]["value"]) if kind in detail else 0.0


def is_right(prediction: Prediction) -> bool:
    """Return whether the answer is the reference after normalising (yes or no alone for yes/no questions)."""
    if prediction.kind in ("presence", "relation"):
        return yes_or_no(prediction.text) == yes_or_no(prediction.reference)
    return normalise_answer(prediction.text) == normalise_answer(prediction.reference)


def score_referring(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """Return accuracies (normalised, exact, macro), per class, and what was mistaken for what.

    A class is a normalised reference answer. Levels: "chance" = 1 / number of classes, "majority" = the most
    frequent class as every answer.
    """
    truth = [normalise_answer(item.reference) for item in predictions]
    answers = [normalise_answer(item.text) for item in predictions]
    right = [float(a == b) for a, b in zip(truth, answers, strict=True)]
    counts = Counter(truth)
    chance = 1 / len(counts) if counts else 0.0
    levels = {"chance": chance, "majority": max(counts.values(), default=0) / max(1, len(truth))}
    exact = [float(item.text.strip() == item.reference.strip()) for item in predictions]
    shown = [name for name, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))][
        :MAX_CLASSES
    ]
    listed = set(shown)
    kept = [place for place, name in enumerate(truth) if name in listed]
    per_class = measure_groups(
        [right[place] for place in kept],
        [predictions[place] for place in kept],
        groups=[truth[place] for place in kept],
        seed=seed,
    )
    mistakes = Counter((a, b) for a, b in zip(truth, answers, strict=True) if a != b)
    return {
        "accuracy": measure(right, predictions, levels=levels, seed=seed),
        "macro_accuracy": measure(
            right, predictions, levels={"chance": chance, "majority": chance}, classes=truth, seed=seed
        ),
        "exact_match": measure(exact, predictions, levels=levels, seed=seed),
        "number_of_classes": len(counts),
        "classes": per_class,
        "confusion": _confusion(truth, answers, sorted(shown)) if len(counts) <= MAX_CLASSES else None,
        "mistakes": [
            {"reference": a, "answer": b, "count": count}
            for (a, b), count in sorted(mistakes.items(), key=lambda entry: (-entry[1], entry[0]))[:20]
        ],
    }


def _confusion(truth: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return counts[row][column].

    Rows are references, columns answers, the last column answers of no class.
    """
    place = {name: index for index, name in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    for reference, answer in zip(truth, answers, strict=True):
        counts[place[reference], place.get(answer, len(labels))] += 1
    return {"labels": list(labels), "columns": [*labels, ANOTHER_ANSWER], "counts": counts.tolist()}


def score_yes_no(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """Return accuracy and balanced accuracy (mean of the accuracies on yes and on no) of yes/no questions.

    An answer that begins with neither counts as wrong and in `unclear`. Levels: chance 1/2, and the more
    frequent answer for all.
    """
    truth = [str(yes_or_no(item.reference)) for item in predictions]
    right = [float(is_right(item)) for item in predictions]
    counts = Counter(truth)
    majority = max(counts.values(), default=0) / max(1, len(truth))
    recalls = measure_groups(right, predictions, groups=truth, seed=seed)
    said = Counter(str(yes_or_no(item.text)) for item in predictions)
    return {
        "accuracy": measure(right, predictions, levels={"chance": 0.5, "majority": majority}, seed=seed),
        "balanced_accuracy": measure(
            right,
            predictions,
            levels={"chance": 0.5, "majority": 1 / max(1, len(recalls))},
            classes=truth,
            seed=seed,
        ),
        "when_the_answer_is": recalls,
        "said": {"yes": said["yes"], "no": said["no"], "unclear": said["None"]},
    }


def score_text(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """Return the share of answers equal to the reference after normalising, and exactly equal."""
    counts = Counter(normalise_answer(item.reference) for item in predictions)
    levels = {"majority": max(counts.values(), default=0) / max(1, len(predictions))}
    right = [float(is_right(item)) for item in predictions]
    exact = [float(item.text.strip() == item.reference.strip()) for item in predictions]
    return {
        "accuracy": measure(right, predictions, levels=levels, seed=seed),
        "exact_match": measure(exact, predictions, levels=levels, seed=seed),
    }
