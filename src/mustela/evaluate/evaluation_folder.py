"""The folder of an evaluation: whose answers lie in it, and how they get there line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.predictions import Prediction, read_predictions, to_line, write_predictions

PREDICTIONS = "predictions.jsonl"
VARIANTS = "variants.jsonl"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"


def claim(folder: Path, settings: dict[str, Any], *, about: dict[str, str], overwrite: bool) -> None:
    """Make sure that answers which lie in the folder already are this evaluation's own.

    Raises ConfigError when their settings differ, unless they are to be replaced (`overwrite`).
    """
    card = folder / EVALUATION
    files = [*_parts(folder), *folder.glob(PREDICTIONS), *folder.glob(VARIANTS)]
    if files and not overwrite:
        before = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
        other = [name for name, value in settings.items() if before.get(name) != value]
        if other:
            found = ", ".join(
                f"{name} {before.get(name, 'unknown')} instead of {settings[name]}" for name in other
            )
            raise ConfigError(
                f"{folder} holds answers of another evaluation ({found}). "
                f"Choose another folder (--out), or replace them (--overwrite)."
            )
    elif overwrite:
        for file in files:
            file.unlink()
    write_json(card, {**settings, "about": about})


def append_batches(path: Path, batches: Iterable[list[Prediction]]) -> Iterator[list[Prediction]]:
    """Write each batch to the end of a file of predictions, and hand it on when it is there."""
    with path.open("ab") as file:
        drop_torn_line(path)
        for batch in batches:
            file.write("".join(to_line(prediction) + "\n" for prediction in batch).encode())
            file.flush()
            yield batch


def collect(folder: Path) -> dict[str, Prediction]:
    """Return the predictions that lie in a folder, those of unfinished processes included, by id."""
    found: dict[str, Prediction] = {}
    for file in [*folder.glob(PREDICTIONS), *_parts(folder)]:
        found.update(read_predictions(file))
    return found


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


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("predictions.[0-9]*.jsonl"))


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed run left of its last line, so that the next line starts on its own."""
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        with path.open("r+b") as file:
            file.truncate(complete)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as UTF-8, finite numbers only.

    The old file is replaced only when the new one is complete.
    """
    partial = path.with_name(path.name + ".partial")
    partial.write_text(
        json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    partial.replace(path)
