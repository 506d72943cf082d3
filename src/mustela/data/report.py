"""The data report: what was read, skipped and repaired, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mustela.data.faults import Fault, Severity
from mustela.errors import RecordError

_MAX_IDS = 10_000  # of one kind of fault in one file
_MAX_EXAMPLES = 100
_MAX_LINES = 20


@dataclass(slots=True)
class FaultCount:
    """All faults of one kind in one file: how many, in which records, and the first in full."""

    severity: Severity
    count: int = 0
    records: int = 0
    ids: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FileReport:
    """What became of one data file.

    `read` counts records found, broken lines included; `skipped` those with errors, `repaired` those that are
    used with a warning; `format` is the sentence on what the file is read as. Lists of ids end at 10,000 and
    examples at 100 a kind; counts are complete.
    """

    path: str
    image_folder: str | None = None
    format: str = ""
    read: int = 0
    kept: int = 0
    skipped: int = 0
    repaired: int = 0
    turns: int = 0
    regions: int = 0
    unreadable_rest: bool = False
    skipped_ids: list[str] = field(default_factory=list)
    faults: dict[str, FaultCount] = field(default_factory=dict)

    def add_record(self, faults: Iterable[Fault], *, kept: bool, turns: int = 0, regions: int = 0) -> None:
        """Count one record and its faults."""
        self.read += 1
        self.turns += turns
        self.regions += regions
        found = list(faults)
        if kept:
            self.kept += 1
            self.repaired += bool(found)
        else:
            self.skipped += 1
            if len(self.skipped_ids) < _MAX_IDS:
                self.skipped_ids.append(found[0].record_id or f"line {found[0].line}")
        of_this_record: set[str] = set()
        for fault in found:
            entry = self.faults.setdefault(fault.kind, FaultCount(fault.severity))
            entry.count += 1
            if fault.kind not in of_this_record:
                of_this_record.add(fault.kind)
                entry.records += 1
                if len(entry.ids) < _MAX_IDS:
                    entry.ids.append(fault.record_id or f"line {fault.line}")
            if len(entry.examples) < _MAX_EXAMPLES:
                entry.examples.append(str(fault))

    def count(self, severity: Severity) -> int:
        """Return the number of faults of a severity."""
        return sum(entry.count for entry in self.faults.values() if entry.severity == severity)

    def lines(self, severity: Severity) -> list[str]:
        """Return the recorded faults of a severity, one line each."""
        return [
            line for entry in self.faults.values() if entry.severity == severity for line in entry.examples
        ]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FileReport:
        """Return the report of a JSON object made by `dataclasses.asdict`."""
        faults = {kind: FaultCount(**entry) for kind, entry in value["faults"].items()}
        return cls(**{**value, "faults": faults})


@dataclass(slots=True)
class DataReport:
    """The reports of all files of a run, in the order of `data_path`."""

    files: list[FileReport] = field(default_factory=list)

    @property
    def has_errors(self) -> bool:
        """Whether any record is unusable."""
        return any(file.skipped or file.unreadable_rest for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `data_report.json`."""
        return {
            "read": sum(file.read for file in self.files),
            "kept": sum(file.kept for file in self.files),
            "skipped": sum(file.skipped for file in self.files),
            "repaired": sum(file.repaired for file in self.files),
            "files": [asdict(file) for file in self.files],
        }

    def write(self, path: str | Path) -> None:
        """Write `data_report.json`."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1)
        # An id may hold half a surrogate pair, which is one of the faults that we report.
        Path(path).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    def summary(self, *, max_lines: int = _MAX_LINES) -> str:
        """Return counts a file and the first faults, for people."""
        lines: list[str] = []
        for file in self.files:
            if file.format:
                lines.append(file.format)
            lines.append(
                f"{file.path}: {file.read} records read, {file.skipped} with errors, {file.repaired} repaired"
            )
            for kind, entry in sorted(file.faults.items(), key=lambda item: item[1].severity):
                lines.append(f"  {entry.severity} {kind}: {entry.count} in {entry.records} records")
        shown = [line for file in self.files for line in (*file.lines("error"), *file.lines("warning"))]
        lines += shown[:max_lines]
        rest = sum(file.count("error") + file.count("warning") for file in self.files) - max_lines
        if rest > 0:
            lines.append(f"... and {rest} more")
        return "\n".join(lines)

    def raise_for_errors(self, *, max_lines: int = _MAX_LINES) -> None:
        """Raise one `RecordError` that lists the errors of all files, if there are any."""
        if not self.has_errors:
            return
        errors = [line for file in self.files for line in file.lines("error")]
        total = sum(file.count("error") for file in self.files)
        bad = sum(file.skipped for file in self.files)
        read = sum(file.read for file in self.files)
        lines = [f"{bad} of {read} records can't be used:", *errors[:max_lines]]
        if total > max_lines:
            lines.append(f"... and {total - min(max_lines, len(errors))} more errors.")
        if any(file.unreadable_rest for file in self.files):
            lines.append("A JSON array can't be read beyond a syntax error; repair the file.")
        else:
            lines.append("Repair them, or leave them out with on_bad_record: skip.")
        raise RecordError("\n".join(lines))
