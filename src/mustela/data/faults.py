"""Faults of data files: what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one record.

    An error makes the record unusable; a warning says what was repaired or looks odd. `kind` is a short
    stable name to count by, such as "box.swapped". `turn` counts the entries of `conversations` from 0, a
    system entry included, and `line` the lines of the file from 1; either is None where it says nothing.
    """

    kind: str
    severity: Severity
    file: str
    line: int | None
    record_id: str
    turn: int | None
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """One line: file, record, turn, field, message, remedy."""
        where = self.file + (f":{self.line}" if self.line is not None else "")
        if self.record_id:
            where += f' record "{self.record_id}"'
        if self.turn is not None:
            where += f", turn {self.turn}"
        if self.field:
            where += f", {self.field}"
        return f"{where}: {self.message}" + (f" {self.remedy}" if self.remedy else "")


@dataclass(slots=True)
class FaultLog:
    """Collects the faults of one record."""

    file: str
    line: int | None = None
    record_id: str = ""
    faults: list[Fault] = field(default_factory=list)

    def refuse(
        self, kind: str, message: str, remedy: str = "", *, turn: int | None = None, field: str = ""
    ) -> None:
        """Add a fault that makes the record unusable."""
        self._add(kind, "error", message, remedy, turn, field)

    def note(
        self, kind: str, message: str, remedy: str = "", *, turn: int | None = None, field: str = ""
    ) -> None:
        """Add a note on what was repaired or looks odd."""
        self._add(kind, "warning", message, remedy, turn, field)

    @property
    def has_errors(self) -> bool:
        """Whether the record is unusable."""
        return any(fault.severity == "error" for fault in self.faults)

    def _add(
        self, kind: str, severity: Severity, message: str, remedy: str, turn: int | None, field: str
    ) -> None:
        record_id = _printable(self.record_id)
        message = _printable(message)
        self.faults.append(
            Fault(kind, severity, self.file, self.line, record_id, turn, field, message, remedy)
        )


def _printable(text: str) -> str:
    """Return a text that can be written as UTF-8; what it says may quote half a surrogate pair."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
