"""Mixing data sets: several files, each used as often as `data_multiple` says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mustela.data.check import CheckOptions
from mustela.data.record import Record
from mustela.data.report import DataReport
from mustela.data.store import RecordStore, open_records
from mustela.errors import ConfigError, RecordError

OnBadRecord = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Source:
    """One data file, where its pictures lie, and how often it is used."""

    data_path: str
    image_folder: str | None = None
    multiple: float = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """One data file of a mixture: its store, and which of its records are used, in order."""

    source: Source
    store: RecordStore
    chosen: npt.NDArray[np.int64]


class Mixture:
    """A sequence of records with their image folders, over several stores; holds indices and no records."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part.chosen) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, index: int) -> tuple[int, int]:
        """Return (part, index of the record in the part's store)."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return part, int(self.parts[part].chosen[index - start])

    def __getitem__(self, index: int) -> tuple[Record, Path | None]:
        """Return a record and the folder of its pictures."""
        number, record = self.locate(index)
        part = self.parts[number]
        folder = part.source.image_folder
        return part.store[record], None if folder is None else Path(folder)

    def column(self, name: str) -> npt.NDArray[np.int32]:
        """Return a number a sample, see `RecordStore.column`."""
        columns = [part.store.column(name)[part.chosen] for part in self.parts]
        return np.concatenate(columns) if columns else np.zeros(0, dtype=np.int32)

    def table(self) -> str:
        """Return what was mixed, as text in columns."""
        total = max(len(self), 1)
        rows = [("data", "records", "multiple", "samples", "share")]
        rows += [
            (
                part.source.data_path,
                str(len(part.store)),
                f"{part.source.multiple:g}",
                str(len(part.chosen)),
                f"{100 * len(part.chosen) / total:.1f} %",
            )
            for part in self.parts
        ]
        rows.append(("all", str(sum(len(part.store) for part in self.parts)), "", str(len(self)), ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        )


def make_sources(
    data_path: Sequence[str], *, image_folder: Sequence[str] = (), data_multiple: Sequence[float] = ()
) -> list[Source]:
    """Pair the lists of a configuration.

    Args:
        data_path: the data files.
        image_folder: one for each file, or one for all, or none: then pictures lie beside their data file.
        data_multiple: one for each file, or none: each is used once.

    Raises:
        ConfigError: the lengths don't match, or a multiple isn't a number from 0.
    """
    count = len(data_path)
    if not count:
        raise ConfigError("data_path is empty. Name at least one data file.")
    folders = list(image_folder) or [str(Path(path).parent) for path in data_path]
    if len(folders) == 1:
        folders *= count
    multiples = list(data_multiple) or [1.0] * count
    for name, values in (("image_folder", folders), ("data_multiple", multiples)):
        if len(values) != count:
            raise ConfigError(
                f"data_path has {count} entries, {name} has {len(values)}. Give one for each data file"
                + (" or one for all." if name == "image_folder" else ".")
            )
    for multiple in multiples:
        if not (math.isfinite(multiple) and multiple >= 0):
            raise ConfigError(f"data_multiple holds {multiple}. A multiple is a number from 0.")
    return [Source(*entry) for entry in zip(data_path, folders, multiples, strict=True)]


def load_mixture(
    sources: Sequence[Source],
    *,
    options: CheckOptions | None = None,
    on_bad_record: OnBadRecord = "error",
    cache_dir: str | Path | None = None,
    seed: int = 0,
    fresh: bool = False,
) -> tuple[Mixture, DataReport]:
    """Read and check all files, then mix them.

    A multiple of 2.3 is two whole copies and 30 % of the records, drawn without replacement by `seed` and the
    file's place in the list.

    Args:
        sources: what to mix, see `make_sources`.
        options: how to read and check.
        on_bad_record: "error" refuses data with bad records, "skip" leaves them out.
        cache_dir: see `mustela.data.store.open_records`.
        seed: decides which records a fraction takes.
        fresh: check again what was checked before.

    Raises:
        ConfigError: unknown `on_bad_record`.
        RecordError: bad records, listed for all files at once; or nothing is left.
    """
    if on_bad_record not in ("error", "skip"):
        raise ConfigError(f"on_bad_record is {on_bad_record!r}. Choose 'error' or 'skip'.")
    report = DataReport()
    stores: list[RecordStore | None] = []
    for source in sources:
        store, file_report = open_records(
            source.data_path,
            image_folder=source.image_folder,
            options=options,
            cache_dir=cache_dir,
            fresh=fresh,
        )
        stores.append(store)
        report.files.append(file_report)
    if on_bad_record == "error" or any(store is None for store in stores):
        report.raise_for_errors()
    parts = [
        Part(source, store, choose(len(store), source.multiple, seed=seed, position=position))
        for position, (source, store) in enumerate(zip(sources, stores, strict=True))
        if store is not None
    ]
    mixture = Mixture(parts)
    if not len(mixture):
        raise RecordError(f"no record is left to use.\n{mixture.table()}")
    return mixture, report


def choose(count: int, multiple: float, *, seed: int, position: int) -> npt.NDArray[np.int64]:
    """Return record indices: whole copies of all, then a share drawn without replacement."""
    whole = int(multiple)
    extra = round((multiple - whole) * count)
    everything = np.arange(count, dtype=np.int64)
    share = np.random.default_rng((seed, position)).choice(everything, extra, replace=False)
    return np.concatenate([np.tile(everything, whole), np.sort(share)])
