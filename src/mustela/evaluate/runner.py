"""Evaluating a model on records: questions, answers, scores and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mustela.data.processor import MustelaProcessor
from mustela.data.record import Record
from mustela.errors import ConfigError, RecordError
from mustela.evaluate.answering import answer_window, windows_of
from mustela.evaluate.fingerprint import model_fingerprint, questions_fingerprint
from mustela.evaluate.metrics import score_predictions
from mustela.evaluate.mode import evaluation_mode
from mustela.evaluate.predictions import Prediction, read_predictions, to_line, write_predictions
from mustela.evaluate.questions import Question, questions_from
from mustela.model import MustelaForConditionalGeneration

PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"
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
    folder.mkdir(parents=True, exist_ok=True)
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


def append_batches(path: Path, batches: Iterable[list[Prediction]]) -> Iterator[list[Prediction]]:
    """Write each batch to the end of a file of predictions, and hand it on when it is there."""
    with path.open("ab") as file:
        _drop_torn_line(path)
        for batch in batches:
            file.write("".join(to_line(prediction) + "\n" for prediction in batch).encode())
            file.flush()
            yield batch


def finish(folder: Path, names: Sequence[str]) -> None:
    """Join all predictions of a folder into one file, in the order of the questions' ids.

    Raises RecordError when one is missing.
    """
    found = collect(folder)
    missing = [name for name in names if name not in found]
    if missing:
        raise RecordError(
            f"{len(missing)} questions have no prediction in {folder}, the first is {missing[0]!r}."
        )
    write_predictions(folder / PREDICTIONS, [found[name] for name in names])
    for part in _parts(folder):
        part.unlink()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as UTF-8, finite numbers only.

    The old file is replaced only when the new one is complete.
    """
    partial = path.with_name(path.name + ".partial")
    partial.write_text(
        json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    partial.replace(path)


def claim(folder: Path, settings: dict[str, Any], *, about: dict[str, str], overwrite: bool) -> None:
    """Make sure that predictions which lie in the folder already are this evaluation's own."""
    card = folder / EVALUATION
    files = [*_parts(folder), *folder.glob(PREDICTIONS)]
    if files and not overwrite:
        before = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
        other = [name for name, value in settings.items() if before.get(name) != value]
        if other:
            found = ", ".join(
                f"{name} {before.get(name, 'unknown')} instead of {settings[name]}" for name in other
            )
            raise ConfigError(
                f"{folder} holds predictions of another evaluation ({found}). "
                f"Choose another folder (--out), or replace them (--overwrite)."
            )
    elif overwrite:
        for file in files:
            file.unlink()
    write_json(card, {**settings, "about": about})


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("predictions.[0-9]*.jsonl"))


def collect(folder: Path) -> dict[str, Prediction]:
    """Return the predictions that lie in a folder, those of unfinished processes included, by id."""
    found: dict[str, Prediction] = {}
    for file in [*folder.glob(PREDICTIONS), *_parts(folder)]:
        found.update(read_predictions(file))
    return found


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed run left of its last line, so that the next line starts on its own."""
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        with path.open("r+b") as file:
            file.truncate(complete)


def process() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def wait() -> None:
    """Wait for all processes."""
    if process()[1] > 1:
        torch.distributed.barrier()
