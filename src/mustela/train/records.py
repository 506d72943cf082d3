"""Record files read, checked and mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mustela.data.check import CheckOptions, check_record
from mustela.data.dataset import RecordSource
from mustela.data.json_stream import stream_json
from mustela.data.record import Record
from mustela.data.report import DataReport, FileReport


@dataclass(frozen=True)
class Files:
    """Mixed records with the report on their files and the mixture as a table."""

    source: RecordSource
    report: dict[str, Any]
    table: str


class _Listed:
    def __init__(self, records: list[tuple[Record, Path | None]], order: list[int]) -> None:
        self.records = records
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Record, Path | None]:
        return self.records[self.order[index]]


def open_files(
    paths: Sequence[str],
    folders: Sequence[str],
    *,
    multiples: Sequence[float],
    options: CheckOptions,
    on_bad_record: Literal["error", "skip"],
    cache_dir: str | None,
    seed: int,
) -> Files:
    """Read, check and mix record files."""
    del cache_dir
    report = DataReport()
    records: list[tuple[Record, Path | None]] = []
    order: list[int] = []
    rows = []
    rng = np.random.default_rng(seed)
    for number, path in enumerate(paths):
        folder = None if not folders else folders[0] if len(folders) == 1 else folders[number]
        opened = options.open_folder(folder)
        of_file = FileReport(path, folder)
        report.files.append(of_file)
        start = len(records)
        for item in stream_json(path):
            checked = check_record(item.value, options, folder=opened, file=path, line=item.line)
            of_file.add_record(checked.faults, kept=checked.record is not None)
            if checked.record is not None:
                records.append((checked.record, None if folder is None else Path(folder)))
        multiple = multiples[number] if multiples else 1.0
        own = list(range(start, len(records)))
        whole, part = divmod(multiple, 1)
        picked = own * int(whole)
        picked += sorted(rng.choice(own, round(part * len(own)), replace=False).tolist()) if part else []
        order += picked
        rows.append(f"{path}: {len(own)} records x {multiple:g} = {len(picked)}")
    if on_bad_record == "error":
        report.raise_for_errors()
    return Files(_Listed(records, order), report.to_json(), "\n".join(rows))
