"""Scores of answers that give boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mustela.evaluate.matching import BoxXYXY, match_one_to_one, matched_ious
from mustela.evaluate.measure import measure, measure_groups
from mustela.evaluate.predictions import Prediction
from mustela.regions import box_iou

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
MAX_PHRASES = 100


def question_ious(prediction: Prediction) -> NDArray[np.float64]:
    """Return the IoUs of a question's matched boxes, zeros for missing and surplus ones.

    See `matched_ious`.
    """
    return matched_ious([box for box, _ in prediction.boxes()], prediction.reference_boxes)


def score_at(ious: NDArray[np.float64], threshold: float) -> float:
    """Return the share of a question's boxes that are right: matched pairs / max(given, asked for)."""
    return float(np.mean(ious >= threshold)) if len(ious) else 1.0


def score_boxes(predictions: Sequence[Prediction], *, seed: int = 0) -> dict[str, Any]:
    """Return the scores of grounding or detection questions.

    A question's score at a threshold is (pairs with IoU >= threshold) / max(boxes given, boxes asked for),
    after the one-to-one matching with the greatest total IoU; for one box against one this is the usual
    Acc@IoU, and boxes at random all over the picture don't pay. A parse failure is an answer without any
    readable box; it scores 0. Level "chance": answers with the boxes of other pictures' questions (see
    `chance_scores`).
    """
    ious = [question_ious(item) for item in predictions]
    chance = chance_scores(predictions, seed=seed)
    result: dict[str, Any] = {}
    for threshold in THRESHOLDS:
        scores = [score_at(item, threshold) for item in ious]
        levels = {} if chance is None else {"chance": chance.at[threshold]}
        result[f"acc_{round(100 * threshold)}"] = measure(scores, predictions, levels=levels, seed=seed)
    mean_ious = [float(item.mean()) if len(item) else 1.0 for item in ious]
    levels = {} if chance is None else {"chance": chance.mean_iou}
    result["mean_iou"] = measure(mean_ious, predictions, levels=levels, seed=seed)
    failed = [float(not item.boxes()) for item in predictions]
    result["parse_failure_rate"] = measure(failed, predictions, seed=seed)
    result["parse_failures"] = int(sum(failed))
    result["parse_failure_reasons"] = _failure_reasons(predictions)
    at_50 = [score_at(item, 0.5) for item in ious]
    counts = ["one box" if len(item.reference_boxes) == 1 else "several boxes" for item in predictions]
    result["by_number_of_boxes"] = measure_groups(at_50, predictions, groups=counts, seed=seed)
    phrases = [_one_phrase(item) for item in predictions]
    if len(set(phrases)) <= MAX_PHRASES:
        result["classes"] = measure_groups(at_50, predictions, groups=phrases, seed=seed)
        result["macro_acc_50"] = measure(at_50, predictions, classes=phrases, seed=seed)
    result["named_acc_50"] = measure([named_score(item) for item in predictions], predictions, seed=seed)
    result["boxes"] = _box_counts(predictions, ious)
    return result


def _one_phrase(prediction: Prediction) -> str:
    names = sorted(set(prediction.reference_phrases))
    return names[0] if len(names) == 1 and names[0] else "(several names)"


def named_score(prediction: Prediction) -> float:
    """Return the share of boxes that are right at IoU 0.5 and have the right words in front of them."""
    answered = prediction.boxes()
    size = max(len(answered), len(prediction.reference_boxes))
    if size == 0:
        return 1.0
    overlaps = box_iou([box for box, _ in answered], list(prediction.reference_boxes))
    # The words may decide between boxes that overlap equally, never against a better overlap.
    same = np.asarray(
        [[given == asked for asked in prediction.reference_phrases] for _, given in answered],
        dtype=np.float64,
    ).reshape(overlaps.shape)
    pairs = match_one_to_one(overlaps + 1e-9 * same)
    return sum(bool(same[pair]) and bool(overlaps[pair] >= 0.5) for pair in pairs) / size


def _failure_reasons(predictions: Sequence[Prediction]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for item in predictions:
        if not item.boxes():
            found = item.found()
            reason = found.rejected[0].reason if found.rejected else "no coordinates in the answer"
            reason = "a point instead of a box" if found.regions else reason
            reasons[reason] = reasons.get(reason, 0) + 1
    return dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))[:20])


def _box_counts(predictions: Sequence[Prediction], ious: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Return numbers of boxes over all questions, and precision and recall of boxes at IoU 0.5."""
    given = sum(len(item.boxes()) for item in predictions)
    asked = sum(len(item.reference_boxes) for item in predictions)
    right = int(sum(int((item >= 0.5).sum()) for item in ious))
    return {
        "asked_for": asked,
        "given": given,
        "right_at_50": right,
        "precision_50": right / max(1, given),
        "recall_50": right / max(1, asked),
    }


@dataclass(frozen=True)
class Chance:
    """Mean scores of answering with other pictures' boxes."""

    at: dict[float, float]
    mean_iou: float


def chance_scores(predictions: Sequence[Prediction], *, seed: int = 0) -> Chance | None:
    """Return what questions score when answered with the reference boxes of questions about other pictures.

    The donors are seeded permutations of the same questions (whatever they ask for), boxes rescaled to the
    size of the picture: what a model that knows only where boxes tend to be would get. None when all
    questions are about one picture.
    """
    if len({item.picture for item in predictions}) < 2:
        return None
    rng = np.random.default_rng(seed)
    rounds = max(1, min(20, 4000 // len(predictions)))
    scores: list[list[float]] = []
    for _ in range(rounds):
        order = rng.permutation(len(predictions))
        for place, prediction in enumerate(predictions):
            donor = _other_picture(predictions, order, place)
            ious = matched_ious(_rescaled(donor, prediction), prediction.reference_boxes)
            scores.append(
                [*(score_at(ious, t) for t in THRESHOLDS), float(ious.mean()) if len(ious) else 1.0]
            )
    means = np.asarray(scores).mean(axis=0)
    at = {threshold: float(value) for threshold, value in zip(THRESHOLDS, means, strict=False)}
    return Chance(at=at, mean_iou=float(means[-1]))


def _other_picture(predictions: Sequence[Prediction], order: NDArray[np.int64], place: int) -> Prediction:
    """Return the first prediction from `order[place]` on (cyclic) that is about another picture."""
    for step in range(len(order)):
        donor = predictions[int(order[(place + step) % len(order)])]
        if donor.picture != predictions[place].picture:
            return donor
    raise ValueError("all predictions are about one picture")


def _rescaled(donor: Prediction, receiver: Prediction) -> list[BoxXYXY]:
    if donor.image_wh is None or receiver.image_wh is None:
        return list(donor.reference_boxes)
    sx, sy = (new / old for new, old in zip(receiver.image_wh, donor.image_wh, strict=True))
    return [(x1 * sx, y1 * sy, x2 * sx, y2 * sy) for x1, y1, x2, y2 in donor.reference_boxes]
