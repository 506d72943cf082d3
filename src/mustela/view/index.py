"""All records of a large file on disk, found by words, answers, faults and length."""

from __future__ import annotations

import json
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from threading import Lock
from types import TracebackType
from typing import Any

from mustela.data.check import Checked
from mustela.data.faults import Fault
from mustela.data.native import record_from_native, record_to_native
from mustela.data.record import Record
from mustela.view.records import short_answers, words_of

_ANSWERS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records to show.

    Args:
        text: words, an id or a file name, in any case.
        answer: a short answer that the record has.
        fault: a kind of fault, `*` for any, `-` for none.
        least: characters of all turns at least.
        most: characters at most; None for any number.
    """

    text: str = ""
    answer: str = ""
    fault: str = ""
    least: int = 0
    most: int | None = None


class RecordIndex:
    """Checked records in a temporary file; in memory are 24 bytes a record, and counts.

    Closing it removes the file. It may be asked from several threads.
    """

    def __init__(self, checked: Iterable[Checked]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._lock = Lock()
        self._offsets, self._lengths, self._combinations = array("Q"), array("Q"), array("Q")
        self._kinds: list[frozenset[str]] = []
        self.kinds: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.faulty = 0
        known: dict[frozenset[str], int] = {}
        for each in checked:
            kinds = frozenset(fault.kind for fault in each.faults)
            number = known.setdefault(kinds, len(known))
            self.kinds.update(kinds)
            self.faulty += bool(kinds)
            answers = [] if each.record is None else short_answers(each.record)
            for answer in answers:
                if len(self.answers) < _ANSWERS_KEPT or answer in self.answers:
                    self.answers[answer] += 1
            self._combinations.append(number)
            self._lengths.append(0 if each.record is None else each.record.characters)
            self._offsets.append(self._file.tell())
            native = None if each.record is None else record_to_native(each.record)
            entry = [_words(each).lower(), answers, native, [asdict(fault) for fault in each.faults]]
            self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._kinds = list(known)
        self.longest = max(self._lengths, default=0)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, number: int) -> Checked:
        _, _, native, faults = self._entry(number)
        record = None if native is None else record_from_native(native)
        return Checked(record, tuple(Fault(**fault) for fault in faults))

    def search(
        self, wanted: Wanted, *, start: int = 0, limit: int = 24, patience: float = 3.0
    ) -> tuple[list[int], int]:
        """Return the first `limit` numbers from `start` on, and where to go on.

        A search that takes longer than `patience` seconds stops where it is; one that is through says
        `len(self)`.
        """
        found: list[int] = []
        text, until = wanted.text.strip().lower(), time.monotonic() + patience
        for number in self._candidates(wanted, start):
            if len(found) == limit or time.monotonic() > until:
                return found, number
            if text or wanted.answer:
                words, answers, _, _ = self._entry(number)
                if text not in words or (wanted.answer and wanted.answer not in answers):
                    continue
            found.append(number)
        return found, len(self)

    def _candidates(self, wanted: Wanted, start: int) -> Iterator[int]:
        """Yield the numbers that fit by what is in memory."""
        fitting = {number for number, kinds in enumerate(self._kinds) if _fits(kinds, wanted.fault)}
        most = self.longest if wanted.most is None else wanted.most
        for number in range(start, len(self)):
            if self._combinations[number] in fitting and wanted.least <= self._lengths[number] <= most:
                yield number

    def _entry(self, number: int) -> list[Any]:
        with self._lock:
            self._file.seek(self._offsets[number])
            line = self._file.readline()
        entry: list[Any] = json.loads(line)
        return entry

    def __enter__(self) -> RecordIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _fits(kinds: frozenset[str], fault: str) -> bool:
    if fault in ("*", "-"):
        return bool(kinds) == (fault == "*")
    return not fault or fault in kinds


def _words(checked: Checked) -> str:
    record: Record | None = checked.record
    if record is None:
        first = checked.faults[0]
        return first.record_id or f"line {first.line}"
    return " ".join([record.id, *words_of(record), *(image.path for image in record.images)])
