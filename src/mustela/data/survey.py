"""What a whole file looks like: counts that single records don't show, and what is suspicious about them."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mustela.data.record import Record

_KEPT = 100_000  # different answers, lengths and sizes that are told apart
_TINY_SIDE: Final = 4.0
_SHORT_ANSWER: Final = 6
_BINS: Final = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SHOWN = 8


@dataclass(slots=True)
class Survey:
    """Counts of one file, which add up over its parts.

    `answers` are counted by their text, `pictures` are marks of the files' contents where they were looked
    at, else of their paths; `lengths` are characters of all turns of a record, in powers of two like sides of
    boxes in pixels.
    """

    records: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)
    regions_a_record: Counter[int] = field(default_factory=Counter)
    box_sides: Counter[int] = field(default_factory=Counter)
    box_shares: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    too_long: list[str] = field(default_factory=list)
    tiny: list[str] = field(default_factory=list)
    large_pictures: int = 0
    beyond_thousand: int = 0
    pictures: set[bytes] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count one record."""
        self.records += 1
        self.turns[len(record.turns)] += 1
        self.lengths[_power(record.characters)] += 1
        for image in record.images:
            if image.size_wh is not None and len(self.sizes) < _KEPT:
                self.sizes[image.size_wh] += 1
        found = [annotation for turn in record.turns for annotation in turn.regions]
        self.regions_a_record[len(found)] += 1
        large = any(image.size_wh is not None and max(image.size_wh) > 1500 for image in record.images)
        self.large_pictures += large and bool(found)
        is_tiny = is_beyond = False
        for annotation in found:
            self.regions[type(annotation.region).__name__.lower()] += 1
            x1, y1, x2, y2 = annotation.region.bounds_xyxy()
            is_beyond |= max(x2, y2) > 1000
            if x2 > x1 and y2 > y1:
                is_tiny |= min(x2 - x1, y2 - y1) < _TINY_SIDE
                self.box_sides[_power(max(x2 - x1, y2 - y1))] += 1
                size = record.images[annotation.image].size_wh
                if size is not None:
                    self.box_shares[
                        min(9, int(10 * ((x2 - x1) * (y2 - y1) / (size[0] * size[1])) ** 0.5))
                    ] += 1
        self.beyond_thousand += is_beyond and large
        if is_tiny and len(self.tiny) < _SHOWN:
            self.tiny.append(record.id)
        for turn in record.turns:
            if turn.role == "assistant" and (len(self.answers) < _KEPT or turn.text in self.answers):
                self.answers[turn.text] += 1

    def merge(self, other: Survey) -> None:
        """Add the counts of another part."""
        self.records += other.records
        self.large_pictures += other.large_pictures
        self.beyond_thousand += other.beyond_thousand
        for mine, theirs in (
            (self.turns, other.turns),
            (self.regions_a_record, other.regions_a_record),
            (self.box_sides, other.box_sides),
            (self.box_shares, other.box_shares),
            (self.lengths, other.lengths),
            (self.tokens, other.tokens),
        ):
            mine.update(theirs)
        self.regions.update(other.regions)
        self.sizes.update(other.sizes)
        self.answers.update(other.answers)
        self.tiny = (self.tiny + other.tiny)[:_SHOWN]
        self.too_long = self.too_long + other.too_long
        self.pictures |= other.pictures

    def mark_picture(self, picture: bytes | Path | None, path: str) -> None:
        """Remember a picture by its content, as far as its first and last parts tell, or by its path."""
        digest = hashlib.blake2b(digest_size=12)
        try:
            if picture is None:
                raise FileNotFoundError
            with io.BytesIO(picture) if isinstance(picture, bytes) else picture.open("rb") as opened:
                digest.update(opened.read(1 << 15))
                end = opened.seek(0, 2)
                opened.seek(max(0, end - (1 << 12)))
                digest.update(opened.read() + end.to_bytes(8, "big"))
        except OSError:
            digest.update(path.encode("utf-8", errors="surrogatepass"))
        self.pictures.add(digest.digest())

    @property
    def classes(self) -> Counter[str]:
        """Short answers without regions, which act as classes."""
        short = [
            (text, count)
            for text, count in self.answers.items()
            if len(text.split()) <= _SHORT_ANSWER and "<bbox_location" not in text
        ]
        return Counter(dict(short))

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON; of answers the most frequent."""
        return {
            "records": self.records,
            "regions": dict(self.regions),
            "turns": {str(key): count for key, count in sorted(self.turns.items())},
            "answers": dict(self.answers.most_common(50)),
            "different_answers": len(self.answers),
            "regions_a_record": {str(key): count for key, count in sorted(self.regions_a_record.items())},
            "box_sides": {str(key): count for key, count in sorted(self.box_sides.items())},
            "box_shares": {str(key): count for key, count in sorted(self.box_shares.items())},
            "picture_sizes": {f"{w}x{h}": count for (w, h), count in self.sizes.most_common(50)},
            "characters": {str(key): count for key, count in sorted(self.lengths.items())},
            "tokens": {str(key): count for key, count in sorted(self.tokens.items())},
            "pictures": len(self.pictures),
        }


def _power(value: float) -> int:
    """Return the smallest bin that holds a value; the last holds all above it."""
    return next((edge for edge in _BINS if value <= edge), _BINS[-1] * 2)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something that isn't wrong by itself but usually means a mistake."""

    kind: str
    file: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message} {self.remedy}"


def suspicions(
    file: str, survey: Survey, fault_counts: Mapping[str, int], *, box_format: str = "xyxy"
) -> list[Suspicion]:
    """Return what is suspicious about a file.

    Args:
        file: its name.
        survey: its counts.
        fault_counts: how often each kind of fault was found in it.
        box_format: what its numbers were taken for.
    """
    found: list[Suspicion] = []

    def add(kind: str, message: str, remedy: str) -> None:
        found.append(Suspicion(kind, file, message, remedy))

    regions = sum(survey.regions.values())
    swapped, clamped = fault_counts.get("box.swapped", 0), fault_counts.get("box.clamped", 0)
    outside = fault_counts.get("box.outside", 0)
    if swapped >= 5 and swapped * 20 > regions + swapped and box_format == "xyxy":
        add("boxes.xywh", f"{swapped} boxes have x2 < x1 or y2 < y1: they look like [x, y, width, height].",
            "Set box_format: xywh if they are.")  # fmt: skip
    if (clamped + outside) >= 10 and (clamped + outside) * 5 > regions:
        hint = "box_format: xyxy" if box_format == "xywh" else "box_format or the order of the numbers"
        add("boxes.reach_out", f"{clamped + outside} boxes reach out of their pictures.", f"Check {hint}.")
    if survey.large_pictures >= 10 and not survey.beyond_thousand and box_format in ("xyxy", "xywh"):
        add("boxes.norm1000",
            f"no box of {survey.large_pictures} records with pictures above 1500 pixels reaches 1000.",
            "Set box_format: norm1000 if the numbers are thousandths.")  # fmt: skip
    if survey.tiny:
        add("boxes.tiny", f"boxes less than {_TINY_SIDE:g} pixels wide or high, in {', '.join(survey.tiny)}.",
            "A model sees little of them; check that they are no slips of the hand.")  # fmt: skip
    answers = sum(survey.answers.values())
    if answers >= 20:
        text, count = survey.answers.most_common(1)[0]
        if count * 10 > answers * 6:
            add("answers.one", f"{count} of {answers} answers are {text[:60]!r}.",
                "A model learns to say it always; balance the questions.")  # fmt: skip
    found += _skew(file, survey.classes)
    if survey.too_long:
        add("samples.too_long",
            f"{len(survey.too_long)} records are too long in tokens: {', '.join(survey.too_long[:_SHOWN])}.",
            "Raise model_max_length, or they are cut or left out.")  # fmt: skip
    return found


def _skew(file: str, classes: Counter[str]) -> list[Suspicion]:
    common = [(text, count) for text, count in classes.most_common() if count > 1]
    if sum(count for _, count in common) < 50 or len(common) < 3:
        return []
    median = common[len(common) // 2][1]
    top, count = common[0]
    if count < 20 * median:
        return []
    message = f"the short answer {top[:40]!r} comes {count} times, the median one {median} times."
    return [Suspicion("answers.skew", file, message, "Balance them: mustela data convert --balance 1.")]


def shared_pictures(files: Sequence[tuple[str, Survey]]) -> list[Suspicion]:
    """Return which files have pictures in common, such as training and test."""
    found = []
    for place, (one, survey) in enumerate(files):
        for other, other_survey in files[place + 1 :]:
            common = len(survey.pictures & other_survey.pictures)
            if common:
                message = (
                    f"{common} pictures are also in {other} ({len(other_survey.pictures)} pictures there)."
                )
                remedy = "If one is for measuring, it must not hold pictures of the other."
                found.append(Suspicion("pictures.shared", one, message, remedy))
    return found
