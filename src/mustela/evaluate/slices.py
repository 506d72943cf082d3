"""Small evaluations in the middle of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mustela.data.processor import MustelaProcessor
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.metrics import score_predictions
from mustela.evaluate.mode import evaluation_mode
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import KINDS, Question
from mustela.model import MustelaForConditionalGeneration


@dataclass(frozen=True)
class SliceResult:
    """A small evaluation: `scores` by name, only of kinds that were asked, and the predictions."""

    scores: dict[str, float]
    predictions: list[Prediction]


def pick_slice(questions: Sequence[Question], *, per_kind: int) -> list[Question]:
    """Return at most `per_kind` questions of each kind, evenly spread over the file; always the same ones."""
    picked: list[Question] = []
    for kind in KINDS:
        same = [question for question in questions if question.kind == kind]
        count = min(per_kind, len(same))
        picked += [same[index * len(same) // count] for index in range(count)]
    return picked


def evaluate_slice(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    questions: Sequence[Question],
    *,
    image_folder: str | Path | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 128,
) -> SliceResult:
    """Ask some questions in the middle of training, writing nothing.

    Training goes on as if this had not happened: every module's mode and the random state are put back.
    """
    predictions: list[Prediction] = []
    with evaluation_mode(model):
        for window in windows_of(questions, batch_size=batch_size):
            for batch in answer_window(
                model,
                processor,
                window,
                image_folder=image_folder,
                batch_size=batch_size,
                max_new_tokens=max_new_tokens,
            ):
                predictions += batch
    order = {question.id: place for place, question in enumerate(questions)}
    predictions.sort(key=lambda prediction: order[prediction.question_id])
    return SliceResult(slice_scores(predictions), predictions)


def slice_scores(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return the main score of each kind that was asked, and the rate of answers without a readable box."""
    detail = score_predictions(predictions)["kinds"]
    names = {"grounding": "acc_50", "detection": "acc_50"}
    scores = {
        f"{kind}_{names.get(kind, 'accuracy')}": float(measures[names.get(kind, "accuracy")]["value"])
        for kind, measures in detail.items()
    }
    if "grounding" in detail:
        scores["parse_failure_rate"] = float(detail["grounding"]["parse_failure_rate"]["value"])
    return scores
