"""Joining answers with a benchmark's questions: by id, never by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.folder import read_json_lines
from mustela.evaluate.benchmarks.protocol import Answer, Item
from mustela.regions import Scale

_IDS = ("question_id", "id")
_TEXTS = ("text", "answer", "response", "prediction")


@dataclass(frozen=True)
class Said:
    """A line of a file of predictions."""

    id: str
    text: str
    scale: Scale | None
    image_wh: tuple[int, int] | None


@dataclass(frozen=True)
class Joined:
    """Answers in the order of the items, and the ids that don't add up.

    `missing` have no prediction and score as empty answers; of `duplicates` the last one counts,
    `conflicting` are those among them whose texts differ; `unknown` belong to no question and are left out.
    """

    answers: tuple[Answer, ...]
    missing: tuple[str, ...]
    duplicates: tuple[str, ...]
    conflicting: tuple[str, ...]
    unknown: tuple[str, ...]

    def faults(self) -> str:
        """Return what doesn't add up as a sentence, "" if all does."""
        named = {
            "without an answer": self.missing,
            "answered more than once": self.duplicates,
            "of unknown questions": self.unknown,
        }
        return ", ".join(f"{len(ids)} {text} (such as {ids[0]!r})" for text, ids in named.items() if ids)


def read_answers(path: str | Path) -> list[Said]:
    """Return the lines of a file of predictions, JSON lines or one JSON array.

    Each has an id (`question_id` or `id`) and the model's text (`text`, `answer`, `response` or
    `prediction`); `scale` and `image_wh` are optional, everything else is ignored. Raises RecordError.
    """
    source = Path(path)
    if not source.is_file():
        raise RecordError(f"{source}: there is no such file of predictions.")
    return [
        _said(entry, f"{source}, prediction {number}")
        for number, entry in enumerate(read_json_lines(source), 1)
    ]


def _said(entry: Mapping[str, Any], where: str) -> Said:
    name = next((key for key in _IDS if key in entry), None)
    text = next((key for key in _TEXTS if isinstance(entry.get(key), str)), None)
    if name is None or text is None:
        lacking = f"an id ({' or '.join(_IDS)})" if name is None else f"a text ({', '.join(_TEXTS)})"
        raise RecordError(f"{where} has no {lacking}. Predictions are joined with questions by id.")
    scale, size = entry.get("scale"), entry.get("image_wh")
    if scale is not None and scale not in get_args(Scale):
        raise RecordError(f"{where}: scale is {scale!r}. It is one of: {', '.join(get_args(Scale))}.")
    if size is not None and not (isinstance(size, list) and len(size) == 2):
        raise RecordError(f"{where}: image_wh is {size!r}, not [width, height].")
    return Said(str(entry[name]), entry[text], scale, None if size is None else (int(size[0]), int(size[1])))


def join(items: Sequence[Item], said: Sequence[Said], *, scale: Scale = "bins") -> Joined:
    """Join answers with items by id; `scale` holds for answers that don't say theirs."""
    by_id: dict[str, Said] = {}
    duplicates: dict[str, bool] = {}
    for line in said:
        if line.id in by_id:
            duplicates[line.id] = duplicates.get(line.id, False) or by_id[line.id].text != line.text
        by_id[line.id] = line
    known = {item.id for item in items}
    if len(known) != len(items):
        raise RecordError(
            "the benchmark's questions have ids that come more than once: its files are broken."
        )
    answers = []
    for item in items:
        line = by_id.get(item.id, Said(item.id, "", None, None))
        prediction = item.answered(line.text, scale=line.scale or scale, image_wh=line.image_wh)
        answers.append(Answer(item, prediction, missing=item.id not in by_id))
    return Joined(
        answers=tuple(answers),
        missing=tuple(item.id for item in items if item.id not in by_id),
        duplicates=tuple(duplicates),
        conflicting=tuple(name for name, differs in duplicates.items() if differs),
        unknown=tuple(name for name in by_id if name not in known),
    )
