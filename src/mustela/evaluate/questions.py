"""From records to questions: every round of a conversation becomes a question without a history.

A question in a conversation of its own can't be answered by copying: an earlier round that names an object
beside its coordinates would give away the box that a later round asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.record import Record, RegionAnnotation, Turn
from mustela.evaluate.answers import normalise_answer, yes_or_no
from mustela.regions import Point

Kind = Literal["referring", "grounding", "presence", "relation", "detection", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_LOCATION = re.compile(LOCATION_PATTERN)
_JOINER = re.compile(r"^(?:(?:and|or|then|also|plus)\b ?)+")


@dataclass(frozen=True)
class Question:
    """One question with its reference answer.

    `record` holds the two turns alone; `turn` is the question's index in the record that it came from.
    `phrases` are the normalised words before each region of the answer, ordered as by `used_regions`.
    """

    id: str
    kind: Kind
    record: Record
    turn: int
    phrases: tuple[str, ...] = ()

    @property
    def question(self) -> Turn:
        """The user's turn."""
        return self.record.turns[0]

    @property
    def reference(self) -> Turn:
        """The right answer."""
        return self.record.turns[1]

    @property
    def picture(self) -> str:
        """What groups questions about the same picture: its path, or the record without one."""
        return self.record.images[0].path if self.record.images else f"record {self.record.id}"


def questions_from(records: Iterable[Record], *, limit: int | None = None) -> list[Question]:
    """Return the questions of `records` in their order, at most `limit`.

    Every pair of a user turn and the answer after it is one question; its id is the record's id, `#` and the
    turn's index (with `~2`, `~3` ... when an id comes again). The image placeholder is put in front of
    questions that relied on an earlier turn for it. A system text stays.
    """
    found: list[Question] = []
    seen: dict[str, int] = {}
    for record in records:
        shown = _images_shown(record)
        for index, (turn, answer) in enumerate(zip(record.turns, record.turns[1:], strict=False)):
            if (turn.role, answer.role) != ("user", "assistant"):
                continue
            if limit is not None and len(found) >= limit:
                return found
            name = f"{record.id}#{index}"
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name = f"{name}~{seen[name]}"
            asked = replace(turn, text=_with_images(turn.text, own=shown[index], wanted=len(record.images)))
            found.append(
                Question(
                    id=name,
                    kind=question_kind(turn, answer),
                    record=replace(record, id=name, turns=(asked, answer)),
                    turn=index,
                    phrases=phrases_before(answer.text),
                )
            )
    return found


def question_kind(question: Turn, answer: Turn) -> Kind:
    """Return what a question tests, judged by its content alone.

    - presence: the answer begins with yes or no, and the question shows no region; relation: it shows some
    - grounding: the answer gives boxes for one name, or for several that each have a word of the question
    - detection: the answer gives boxes for things that the question doesn't name ("Name every object ...")
    - referring: the question shows regions, the answer is words
    - text: all else, also an answer that gives points, or only boxes that its own question already shows
      (copying
      them needs no look at the picture)
    """
    shown = {annotation.region for annotation in question.regions}
    given = [annotation.region for annotation in answer.regions]
    if yes_or_no(answer.text) is not None:
        return "relation" if shown else "presence"
    if given:
        if any(isinstance(region, Point) for region in given) or set(given) <= shown:
            return "text"
        return "grounding" if _is_asked_for(phrases_before(answer.text), question.text) else "detection"
    return "referring" if shown else "text"


def _is_asked_for(phrases: Sequence[str], question: str) -> bool:
    asked = _stems(question)
    return len(set(phrases)) <= 1 or all(asked & _stems(phrase) for phrase in phrases)


def _stems(text: str) -> set[str]:
    return {word.removesuffix("s") for word in normalise_answer(_LOCATION.sub(" ", text)).split()}


def used_regions(turn: Turn) -> list[RegionAnnotation]:
    """Return the regions that the turn's text mentions, in the order of their first mention."""
    numbers = dict.fromkeys(int(match[1]) for match in _LOCATION.finditer(turn.text))
    return [turn.regions[number] for number in numbers if number < len(turn.regions)]


def phrases_before(text: str) -> tuple[str, ...]:
    """Return the normalised words before each region's first mention, from the placeholder before it on."""
    phrases: dict[str, str] = {}
    for before, number in zip(*[iter(_LOCATION.split(text)[:-1])] * 2, strict=True):
        phrases.setdefault(number, clean_phrase(before))
    return tuple(phrases.values())


def clean_phrase(phrase: str) -> str:
    """Return the last part of `phrase`, normalised, without a joining word ("and", "then") in front."""
    parts = [part for part in re.split(r"[,.;:!?\n\u3001\u3002\uff0c\uff1b]", phrase) if part.strip()]
    return normalise_answer(_JOINER.sub("", parts[-1].strip().casefold())) if parts else ""


def _images_shown(record: Record) -> list[int]:
    """Return how many pictures each turn shows.

    Further `<image>`s in a record are text that somebody typed.
    """
    left = len(record.images)
    shown: list[int] = []
    for turn in record.turns:
        here = min(left, turn.text.count(IMAGE_PLACEHOLDER)) if turn.role == "user" else 0
        shown.append(here)
        left -= here
    return shown


def _with_images(text: str, *, own: int, wanted: int) -> str:
    if own == wanted:
        return text
    return f"{IMAGE_PLACEHOLDER}\n" * wanted + text.replace(IMAGE_PLACEHOLDER, "", own).strip()


def count_kinds(questions: Sequence[Question]) -> dict[Kind, int]:
    """Return how many questions there are of each kind, all kinds included."""
    return {kind: sum(question.kind == kind for question in questions) for kind in KINDS}
