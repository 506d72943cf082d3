"""`mustela ask --batch`: questions from a JSONL file, answers into another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.progress import show_progress
from mustela.errors import ConfigError, MustelaError, RecordError

if TYPE_CHECKING:
    from mustela.infer import Answer, Predictor
    from mustela.regions import Region

__all__ = ["Asked", "answer_file", "read_questions"]

_FIELDS = {"id", "image", "question", "regions"}


@dataclass(frozen=True)
class Asked:
    """A line of a file of questions; `image` is None for a question about none."""

    id: str | int
    image: Path | None
    question: str
    regions: tuple[Region, ...]


def read_questions(file: Path, *, image_folder: Path) -> list[Asked]:
    """Read a file of questions, one JSON object a line.

    Raises:
        RecordError: a line is wrong, or two have one id; the message names file and line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--batch {file}: can't be read ({error}).") from error
    found: dict[str | int, Asked] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            asked = _question(json.loads(line), number, image_folder)
        except (MustelaError, json.JSONDecodeError) as error:
            raise RecordError(f"{file}, line {number}: {error}") from error
        if asked.id in found:
            raise RecordError(f"{file}, line {number}: the id {asked.id!r} comes twice. Give each its own.")
        found[asked.id] = asked
    if not found:
        raise RecordError(f"{file} has no questions.")
    return list(found.values())


def answer_file(
    predictor: Predictor, questions: Sequence[Asked], out: Path, *, batch_size: int, max_new_tokens: int
) -> tuple[int, int]:
    """Answer the questions that `out` has no answer to, and write each answer behind those that are there.

    Returns:
        How many were asked, and how many of them could not be answered: their lines have an `error`.

    Raises:
        ConfigError: the file can't be written, or holds something else.
    """
    done = _answered(out)
    if out.exists():
        # Questions that could not be answered are asked again: their lines go.
        out.write_text("".join(done.values()), encoding="utf-8")
    left = [asked for asked in questions if asked.id not in done]
    failed = 0
    try:
        with out.open("a", encoding="utf-8") as file, show_progress() as progress:
            for start in range(0, len(left), batch_size):
                batch = left[start : start + batch_size]
                for line in _lines(predictor, batch, max_new_tokens):
                    failed += "error" in line
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                if progress is not None:
                    progress(start + len(batch), len(left))
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be written ({error}).") from error
    return len(left), failed


def _lines(predictor: Predictor, batch: Sequence[Asked], max_new_tokens: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each question: one with an answer, or with what is wrong with its picture."""
    from mustela.infer import Query
    from mustela.regions import load_image

    queries, faults = {}, {}
    for asked in batch:
        try:
            image = None if asked.image is None else load_image(asked.image)
            for region in asked.regions:
                if image is not None:
                    region.anchor(image.size)
            queries[asked.id] = Query(image, asked.question, asked.regions)
        except MustelaError as error:
            faults[asked.id] = str(error)
    answers = dict(
        zip(
            queries,
            predictor.ask_many(list(queries.values()), batch_size=len(batch), max_new_tokens=max_new_tokens),
            strict=True,
        )
    )
    for asked in batch:
        head = {"id": asked.id, "question": asked.question}
        if asked.id in faults:
            yield {**head, "error": faults[asked.id]}
        else:
            yield {**head, **_said(answers[asked.id])}


def _said(answer: Answer) -> dict[str, Any]:
    from mustela.regions import found_to_json

    return {"answer": answer.text, "regions": [found_to_json(found) for found in answer.regions]}


def _question(value: object, number: int, image_folder: Path) -> Asked:
    from mustela.infer import placeholder_numbers
    from mustela.regions import region_from_json

    if not isinstance(value, Mapping):
        raise RecordError("is no JSON object.")
    unknown = sorted(set(value) - _FIELDS)
    if unknown:
        raise RecordError(f"has the unknown field {unknown[0]!r}. Known: {', '.join(sorted(_FIELDS))}.")
    name, image, question = value.get("id", number), value.get("image"), value.get("question")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise RecordError(f"id is {name!r}. It is a text or a whole number.")
    if not isinstance(question, str) or not question.strip():
        raise RecordError(f"question is {question!r}. Write one.")
    if image is not None and not isinstance(image, str):
        raise RecordError(f"image is {image!r}. It is the path of a picture, or left out.")
    given = value.get("regions", [])
    if not isinstance(given, list):
        raise RecordError(f"regions is {given!r}. It is a list.")
    regions = tuple(region_from_json(region) for region in given)
    if regions and image is None:
        raise RecordError("has regions but no image.")
    placeholder_numbers(question, len(regions))
    return Asked(name, None if image is None else image_folder / image, question, regions)


def _answered(out: Path) -> dict[str | int, str]:
    """Return the lines of a file that have answers, by id."""
    if not out.exists():
        return {}
    found = {}
    try:
        for line in out.read_text(encoding="utf-8").splitlines(keepends=True):
            answer = json.loads(line)
            if "error" not in answer:
                found[answer["id"]] = line
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--out {out}: is there already, and holds something else than answers. Choose another file."
        ) from error
    return found
