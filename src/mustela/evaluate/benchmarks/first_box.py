"""Scores of questions with one right box, by the first box of the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.protocol import Answer, Score, ScoreTools
from mustela.evaluate.grounding import THRESHOLDS
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.measure import measure
from mustela.regions import box_iou

INCLUSIVE_NOTE = (
    "acc_50_inclusive counts pixels as both corners inside (width x2 - x1 + 1), as some papers' scorers do; "
    "all other figures have no + 1."
)


def inclusive_iou(first: BoxXYXY, second: BoxXYXY) -> float:
    """Return the IoU with both corners inside: sides are x2 - x1 + 1. 0 for boxes with swapped corners."""
    if first[2] < first[0] or first[3] < first[1]:
        return 0.0
    grown = [(x1, y1, x2 + 1, y2 + 1) for x1, y1, x2, y2 in (first, second)]
    return float(box_iou([grown[0]], [grown[1]])[0, 0])


def answered_boxes(answer: Answer) -> list[BoxXYXY]:
    """Return an answer's boxes in pixels, in the order of its text, read in its own coordinate style.

    Raises RecordError when the size of the picture is unknown.
    """
    return [] if answer.missing else [box for box, _ in answer.prediction.boxes()]


def first_ious(answers: Sequence[Answer]) -> tuple[list[float], list[bool]]:
    """Return the IoU of every answer's first box with the true one, 0 without, and which have no box."""
    ious, failed = [], []
    for answer in answers:
        if len(answer.item.boxes) != 1:
            raise RecordError(
                f"question {answer.item.id!r} has {len(answer.item.boxes)} true boxes, not one."
            )
        boxes = answered_boxes(answer)
        failed.append(not boxes)
        ious.append(float(box_iou(boxes[:1], answer.item.boxes)[0, 0]) if boxes else 0.0)
    return ious, failed


def failure_reasons(answers: Sequence[Answer]) -> dict[str, int]:
    """Return why answers have no box, with how often, the most frequent first."""
    reasons = Counter(
        "no answer" if answer.missing else str(answer.prediction.found().failure)
        for answer in answers
        if not answered_boxes(answer)
    )
    return dict(reasons.most_common(20))


def score_first_box(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    """Return Acc@0.5 (main) to Acc@0.9 by the first box, the mean IoU, and Acc@0.5 in two other readings.

    `acc_50_best` takes the best of the answer's boxes instead of the first; `acc_50_inclusive` the IoU with
    both corners inside. An IoU of exactly the threshold is a hit.
    """
    predictions = [answer.prediction for answer in answers]
    ious, failed = first_ious(answers)
    rows: list[dict[str, float]] = [
        {f"acc_{round(100 * limit)}": float(iou >= limit) for limit in THRESHOLDS} for iou in ious
    ]
    for row, iou, answer in zip(rows, ious, answers, strict=True):
        boxes = answered_boxes(answer)
        target = answer.item.boxes[0]
        row["mean_iou"] = iou
        row["acc_50_best"] = float(bool(boxes) and float(np.max(box_iou(boxes, [target]))) >= 0.5)
        row["acc_50_inclusive"] = float(bool(boxes) and inclusive_iou(boxes[0], target) >= 0.5)
    figures = {name: measure([row[name] for row in rows], predictions, seed=tools.seed) for name in rows[0]}
    details = {"parse_failure_reasons": failure_reasons(answers)}
    return Score(figures, rows, failed, details, (INCLUSIVE_NOTE,))
