"""Evaluating a model on records: questions, answers, scores and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from mustela.data.processor import MustelaProcessor
from mustela.data.record import Record
from mustela.errors import ConfigError, RecordError
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.evaluation_folder import (
    METRICS,
    PREDICTIONS,
    append_batches,
    claim,
    collect,
    finish,
    write_json,
)
from mustela.evaluate.fingerprint import model_fingerprint, questions_fingerprint
from mustela.evaluate.metrics import score_predictions
from mustela.evaluate.mode import evaluation_mode
from mustela.evaluate.predictions import read_predictions
from mustela.evaluate.processes import process, wait
from mustela.evaluate.questions import Question, questions_from
from mustela.model import MustelaForConditionalGeneration

Progress = Callable[[int, int], None]


def evaluate(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    records: Iterable[Record],
    *,
    out_dir: str | Path,
    image_folder: str | Path | None = None,
    batch_size: int = 16,
    limit: int | None = None,
    max_new_tokens: int = 256,
    overwrite: bool = False,
    seed: int = 0,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every question of `records` in a conversation of its own and return the metrics.

    Writes into `out_dir`: `predictions.jsonl` (flushed after each batch; an evaluation that was interrupted
    goes on there), `evaluation.json` (what was evaluated) and `metrics.json`. Greedy and deterministic; the
    model is left in the mode it was in. Where torch.distributed runs, the processes share the questions,
    every question is answered by exactly one, and all return the metrics.

    Args:
        model: on its device.
        processor: the model's.
        records: with boxes, masks, ... in pixels.
        out_dir: made when missing.
        image_folder: where the records' image paths begin.
        batch_size: questions at a time.
        limit: the first so many questions only.
        max_new_tokens: the longest answer.
        overwrite: start again where `out_dir` holds another model's or other data's predictions.
        seed: of the intervals and chance levels.
        about: names for the report, such as {"model": path, "data": path}.
        progress: called with (questions answered, questions).

    Raises:
        ConfigError: `out_dir` holds predictions of another model, of other questions or settings.
        RecordError: there is no question in the records.
    """
    questions = _questions(records, limit=limit)
    folder = Path(out_dir)
    answer_questions(
        model,
        processor,
        questions,
        out_dir=folder,
        image_folder=image_folder,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        overwrite=overwrite,
        about=about,
        progress=progress,
    )
    if process()[0] == 0:
        ordered = list(read_predictions(folder / PREDICTIONS).values())
        write_json(folder / METRICS, score_predictions(ordered, seed=seed))
    wait()
    metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    return metrics


def answer_questions(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    questions: Sequence[Question],
    *,
    out_dir: str | Path,
    image_folder: str | Path | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 256,
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Ask questions and leave the answers in `predictions.jsonl` of `out_dir`, in the order of the questions.

    As `evaluate`, without a score: goes on where it was interrupted, shares the questions among the processes
    of torch.distributed (each is answered by exactly one), and returns in all of them when the file is there.
    """
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: the folder can't be made ({error}). Choose another (--out).") from error
    rank, world = process()
    if rank == 0:
        settings = _settings(model, questions, max_new_tokens=max_new_tokens)
        claim(folder, settings, about=about or {}, overwrite=overwrite)
    wait()
    done = frozenset(collect(folder))
    own = folder / (PREDICTIONS if world == 1 else f"predictions.{rank:05d}.jsonl")
    ask = partial(
        answer_window,
        model,
        processor,
        image_folder=image_folder,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        done=done,
    )
    windows = windows_of(questions, batch_size=batch_size)[rank::world]
    answered = sum(question.id in done for question in questions)
    with evaluation_mode(model):
        for batch in append_batches(own, chain.from_iterable(map(ask, windows))):
            answered += sum(prediction.question_id not in done for prediction in batch)
            if progress is not None:
                progress(answered, len(questions))
    wait()
    if rank == 0:
        finish(folder, [question.id for question in questions])
    wait()


def _questions(records: Iterable[Record], *, limit: int | None) -> list[Question]:
    questions = questions_from(records, limit=limit)
    if not questions:
        raise RecordError(
            "there is no question to evaluate: no user turn with an answer after it in the data."
        )
    return questions


def _settings(model: nn.Module, questions: Sequence[Question], *, max_new_tokens: int) -> dict[str, Any]:
    """Return what makes the answers: predictions of other settings don't belong to this evaluation."""
    return {
        "model_fingerprint": model_fingerprint(model),
        "questions_fingerprint": questions_fingerprint(questions),
        "max_new_tokens": max_new_tokens,
    }
