"""`mustela ask --batch`: questions from a JSONL file, answers into another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.progress import show_progress
from mustela.errors import ConfigError, MustelaError, RecordError

if TYPE_CHECKING:
    from mustela.infer import Answer, Predictor, Query
    from mustela.regions import Region

__all__ = ["Asked", "answer_file", "read_questions"]

_FIELDS = {"id", "image", "question", "regions"}
_START = b'{"id": '  # of every line that is written here


@dataclass(frozen=True)
class Asked:
    """A line of a file of questions; `image` is None for a question about none."""

    id: str | int
    image: Path | None
    question: str
    regions: tuple[Region, ...]

    def fingerprint(self) -> str:
        """Return a short name of what is asked: the text, the picture's path and the regions."""
        from mustela.regions import region_to_json

        image = None if self.image is None else str(self.image.absolute())
        asked = [self.question, image, [region_to_json(region) for region in self.regions]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def read_questions(file: Path, *, image_folder: Path) -> list[Asked]:
    """Read a file of questions, one JSON object a line.

    Raises:
        RecordError: a line is wrong, or two have one id; the message names file and line.
    """
    try:
        # Not splitlines(): questions may hold U+2028 and other characters that it takes for line ends.
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--batch {file}: can't be read ({error}).") from error
    found: dict[str | int, Asked] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            asked = _question(json.loads(line), number, image_folder)
        except (MustelaError, json.JSONDecodeError, RecursionError) as error:
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

    What could not be answered is asked again, and so is a question that has changed since: its text, its
    picture's path or its regions.

    Returns:
        How many were asked, and how many of them could not be answered: their lines have an `error`.

    Raises:
        ConfigError: the file can't be written, holds something else, or answers of another model or another
            `max_new_tokens`.
    """
    from mustela.evaluate.fingerprint import model_fingerprint

    settings = {"model": model_fingerprint(predictor.model), "max_new_tokens": max_new_tokens}
    done = _still_valid(_answered(out), questions, settings, out)
    left = [asked for asked in questions if asked.id not in done]
    failed = 0
    try:
        if out.exists():
            _replace(out, done.values())
        with out.open("a", encoding="utf-8", newline="\n") as file, show_progress() as progress:
            for start in range(0, len(left), batch_size):
                batch = left[start : start + batch_size]
                for line in _lines(predictor, batch, max_new_tokens):
                    failed += "error" in line
                    asked = {"question": _fingerprint(batch, line["id"]), **settings}
                    file.write(_json({**line, "asked": asked}) + "\n")
                file.flush()
                if progress is not None:
                    progress(start + len(batch), len(left))
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be written ({error}).") from error
    return len(left), failed


def _json(value: Mapping[str, Any]) -> str:
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # a path of other bytes than UTF-8 in a message: only an escape can hold it
        return json.dumps(value)
    return line


def _replace(out: Path, lines: Iterable[str]) -> None:
    """Write lines in the place of a file's; the old one is there until the new one is complete."""
    partial = out.with_name(out.name + ".partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    partial.replace(out)


def _fingerprint(batch: Sequence[Asked], name: str | int) -> str:
    return next(asked.fingerprint() for asked in batch if asked.id == name)


def _still_valid(
    found: Mapping[str | int, tuple[str, Mapping[str, Any]]],
    questions: Sequence[Asked],
    settings: Mapping[str, Any],
    out: Path,
) -> dict[str | int, str]:
    """Return the lines of answers that are kept: all but those whose question has changed."""
    for _, about in found.values():
        other = [name for name, value in settings.items() if about.get(name) != value]
        if other:
            what = ", ".join(
                f"{name} {about.get(name, 'unknown')} instead of {settings[name]}" for name in other
            )
            raise ConfigError(f"--out {out}: holds answers of another run ({what}). Choose another file.")
    now = {asked.id: asked.fingerprint() for asked in questions}
    return {
        name: line for name, (line, about) in found.items() if now.get(name) in (None, about.get("question"))
    }


def _lines(predictor: Predictor, batch: Sequence[Asked], max_new_tokens: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each question: one with an answer, or with what is wrong with its picture."""
    from mustela.infer import Query
    from mustela.regions import load_image

    queries: dict[str | int, Query] = {}
    said: dict[str | int, dict[str, Any]] = {}
    for asked in batch:
        try:
            image = None if asked.image is None else load_image(asked.image)
            for region in asked.regions:
                if image is not None:
                    region.anchor(image.size)
            queries[asked.id] = Query(image, asked.question, asked.regions)
        except MustelaError as error:
            said[asked.id] = {"error": str(error)}
    said |= _answers(predictor, queries, max_new_tokens)
    for asked in batch:
        yield {"id": asked.id, "question": asked.question, **said[asked.id]}


def _answers(
    predictor: Predictor, queries: Mapping[str | int, Query], max_new_tokens: int
) -> dict[str | int, dict[str, Any]]:
    """Answer at once; where one question can't be asked, one by one, so that the others get answers."""
    try:
        answers = predictor.ask_many(
            list(queries.values()), batch_size=max(1, len(queries)), max_new_tokens=max_new_tokens
        )
    except MustelaError as error:
        if len(queries) == 1:
            return {name: {"error": str(error)} for name in queries}
        found: dict[str | int, dict[str, Any]] = {}
        for name, query in queries.items():
            found |= _answers(predictor, {name: query}, max_new_tokens)
        return found
    return {name: _said(answer) for name, answer in zip(queries, answers, strict=True)}


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
    for field, text in (("id", name), ("image", image), ("question", question)):
        _check_text(field, text)
    given = value.get("regions", [])
    if not isinstance(given, list):
        raise RecordError(f"regions is {given!r}. It is a list.")
    regions = tuple(region_from_json(region) for region in given)
    if regions and image is None:
        raise RecordError("has regions but no image.")
    placeholder_numbers(question, len(regions))
    return Asked(name, None if image is None else image_folder / image, question, regions)


def _check_text(field: str, value: object) -> None:
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise RecordError(
            f"{field} is not valid text: character {error.start + 1} is half of a surrogate pair."
            " Write the whole character."
        ) from None


def _answered(out: Path) -> dict[str | int, tuple[str, Mapping[str, Any]]]:
    """Return the lines of a file that have answers, by id, each with what was asked."""
    if not out.exists():
        return {}
    found: dict[str | int, tuple[str, Mapping[str, Any]]] = {}
    try:
        # Not splitlines(), as above.
        lines = out.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                line = raw.decode("utf-8").rstrip("\r")
                entry = json.loads(line)
            except ValueError:
                if number == len(lines) and (raw.startswith(_START) or _START.startswith(raw)):
                    break  # what an interrupted run left of its last line
                raise
            if "error" not in entry:
                _ = entry["answer"]  # a KeyError where it is something else
                found[entry["id"]] = (line, dict(entry.get("asked", {})))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"--out {out}: is there already, and holds something else than answers. Choose another file."
        ) from error
    return found
