"""A page of records: pictures with their regions in colour, linked to the words that mean them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import markupsafe
from PIL import Image

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.check import Checked, CheckOptions
from mustela.data.image_folder import locate_image
from mustela.data.record import Record, Turn
from mustela.errors import ImageError
from mustela.pages import render_page
from mustela.regions import load_image
from mustela.regions.phrases import phrase_before
from mustela.view.page import PAGE
from mustela.view.pictures import color, picture_address, region_svg, region_tag, safe

_LOCATION = re.compile(LOCATION_PATTERN)
_CLASSES = 40
_SHORT = 6


@dataclass(frozen=True, slots=True)
class _Shown:
    """One card of the page."""

    id: str
    pictures: list[dict[str, Any]]
    turns: list[dict[str, Any]]
    faults: list[str]
    kinds: str
    classes: str
    length: int
    text: str
    regions: int


@dataclass(frozen=True, slots=True)
class Browsing:
    """Where the shown records stand in a larger set.

    Args:
        wanted: the filters as they were sent, by the names of their fields.
        start: number of the record that the search began at.
        seen: number of the record that it stopped before.
        first: address of the first page, empty on it.
        more: address of the next page, empty on the last.
        kinds: kinds of faults in the whole set, with counts.
        answers: its most frequent short answers, with counts.
        longest: characters of its longest record.
        faulty: how many of its records have faults.
    """

    wanted: Mapping[str, str]
    start: int
    seen: int
    first: str
    more: str
    kinds: list[tuple[str, int]]
    answers: list[tuple[str, int]]
    longest: int
    faulty: int


@dataclass(slots=True)
class _Numbers:
    """Gives equal regions of a record one number, whichever turn names them."""

    known: dict[object, int] = field(default_factory=dict)

    def of(self, annotation: object) -> int:
        return self.known.setdefault(annotation, len(self.known))


def records_page(
    checked: Iterable[Checked],
    *,
    title: str,
    folder: str | Path | None,
    total: int,
    reading: str = "",
    options: CheckOptions | None = None,
    browsing: Browsing | None = None,
) -> str:
    """Return a self-contained page of records, good ones and bad ones.

    Args:
        checked: the records to show, with their faults.
        title: what they are, such as the file's name.
        folder: where their pictures lie; None shows none.
        total: how many the file has.
        reading: the sentence on what the file is read as.
        options: which paths of pictures are allowed.
        browsing: where these records stand in a larger set that a server filters; None: the page filters.
    """
    cards = [_card(each, folder, options or CheckOptions()) for each in checked]
    classes = Counter(name for card in cards for name in card.classes.split("\n") if name)
    kinds = Counter(kind for card in cards for kind in card.kinds.split())
    return render_page(
        PAGE,
        "records.html.jinja",
        title=title,
        reading=reading,
        cards=cards,
        total=total,
        classes=classes.most_common(_CLASSES) if browsing is None else browsing.answers,
        kinds=sorted(kinds.items()) if browsing is None else browsing.kinds,
        longest=max((card.length for card in cards), default=0) if browsing is None else browsing.longest,
        faulty=sum(bool(card.faults) for card in cards) if browsing is None else browsing.faulty,
        browsing=browsing,
        regions=sum(card.regions for card in cards),
    )


def words_of(record: Record) -> list[str]:
    """Return the texts of the turns without what stands for pictures and regions."""
    return [_LOCATION.sub("", turn.text).replace(IMAGE_PLACEHOLDER, "").strip() for turn in record.turns]


def short_answers(record: Record) -> list[str]:
    """Return the different answers of a few words, which act as classes, without their regions."""
    answers = [_LOCATION.sub("", turn.text).strip(" .") for turn in record.turns if turn.role == "assistant"]
    return list(dict.fromkeys(answer for answer in answers if 0 < len(answer.split()) <= _SHORT))


def _card(checked: Checked, folder: str | Path | None, options: CheckOptions) -> _Shown:
    faults = [f"{fault.severity}: {fault.message} {fault.remedy}".strip() for fault in checked.faults]
    kinds = " ".join(sorted({fault.kind for fault in checked.faults}))
    record = checked.record
    if record is None:
        first = checked.faults[0]
        name = first.record_id or f"line {first.line}"
        return _Shown(name, [], [], faults, kinds, "", 0, name, 0)
    numbers = _Numbers()
    turns = [_turn(turn, numbers, record) for turn in record.turns]
    return _Shown(
        id=record.id,
        pictures=_pictures(record, numbers, folder, options),
        turns=([{"role": "system", "parts": markupsafe.escape(record.system)}] if record.system else [])
        + turns,
        faults=faults,
        kinds=kinds,
        classes="\n".join(short_answers(record)),
        length=record.characters,
        text=" ".join(words_of(record)),
        regions=len(numbers.known),
    )


def _pictures(
    record: Record, numbers: _Numbers, folder: str | Path | None, options: CheckOptions
) -> list[dict[str, Any]]:
    shown = []
    for index, reference in enumerate(record.images):
        try:
            image = None if folder is None else _open(reference.path, folder, options)
            fault = ""
        except ImageError as error:
            image, fault = None, str(error)
        size = image.size if image is not None else reference.size_wh
        shape = size or (1, 1)
        marks = [
            {
                "number": number,
                "svg": safe(
                    region_svg(a.region, number, shape, mask=a.mask) + region_tag(a.region, number, shape)
                ),
            }
            for a, number in _annotations(record, numbers)
            if a.image == index
        ]
        shown.append(
            {
                "path": reference.path,
                "size": size,
                "fault": fault,
                "address": None if image is None else picture_address(image),
                "marks": marks if size is not None else [],
            }
        )
    return shown


def _annotations(record: Record, numbers: _Numbers) -> list[Any]:
    """Return the different regions of a record, the large ones first, so that small ones lie above them."""
    found = {annotation for turn in record.turns for annotation in turn.regions}

    def extent(annotation: Any) -> float:
        x1, y1, x2, y2 = annotation.region.bounds_xyxy()
        return float(-(x2 - x1) * (y2 - y1))

    return [(annotation, numbers.of(annotation)) for annotation in sorted(found, key=extent)]


def _open(path: str, folder: str | Path, options: CheckOptions) -> Image.Image:
    found = locate_image(path, folder, absolute_paths=options.absolute_paths, symlinks=options.symlinks)
    return load_image(found, max_pixels=options.max_image_pixels)


def _turn(turn: Turn, numbers: _Numbers, record: Record) -> dict[str, Any]:
    """Return a turn's text with a mark for each region, and the words that mean it, where they precede it."""
    text = turn.text.replace(IMAGE_PLACEHOLDER, "").strip() if turn.role == "user" else turn.text
    parts: list[markupsafe.Markup] = []
    end = 0
    for found in _LOCATION.finditer(text):
        annotation = turn.regions[int(found[1])]
        number = numbers.of(annotation)
        before = text[end : found.start()]
        words = phrase_before(before) if turn.role == "assistant" else None
        plain, _, rest = before.rpartition(words) if words and words in before else (before, "", "")
        link = markupsafe.Markup('<span class="words" data-r="{}" style="--c:{}">{}</span>')
        parts.append(markupsafe.escape(plain))
        if words and words in before:
            parts.append(link.format(number, color(number), words))
        parts.append(markupsafe.escape(rest))
        mark = markupsafe.Markup('<button class="mark" data-r="{}" style="--c:{}" title="{}">{}</button>')
        parts.append(mark.format(number, color(number), _describe(annotation, record), number + 1))
        end = found.end()
    parts.append(markupsafe.escape(text[end:]))
    return {"role": turn.role, "parts": markupsafe.Markup("").join(parts)}


def _describe(annotation: Any, record: Record) -> str:
    bounds = ", ".join(f"{value:g}" for value in (round(v, 1) for v in annotation.region.bounds_xyxy()))
    kind = type(annotation.region).__name__.lower()
    where = f" of picture {annotation.image + 1}" if len(record.images) > 1 else ""
    return f"{kind} [{bounds}] in pixels{where}" + (", with a mask" if annotation.mask is not None else "")


def sample_positions(total: int, count: int, start: int) -> Sequence[int]:
    """Return the positions of `count` records from `start` on, or, with a negative start, spread evenly."""
    if start >= 0:
        return range(start, min(total, start + count))
    return sorted({number * total // min(count, total) for number in range(min(count, total))})
