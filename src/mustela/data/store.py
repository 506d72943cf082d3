"""The record store: checked records in a memory-mapped Arrow table that all processes share.

A data file is read and checked once. The result lies in a cache folder under a key made of the file's content
and of everything that decides how it is read: the next start opens it at once, a changed file is a new key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset

from mustela.data.check import CheckOptions
from mustela.data.faults import Fault
from mustela.data.formats import Found, Source
from mustela.data.formats.choose import choose_format
from mustela.data.native import dump_record, record_from_native
from mustela.data.parallel import cores, in_chunks, in_processes, settled
from mustela.data.reading import check_found
from mustela.data.record import Record
from mustela.data.report import FileReport
from mustela.errors import ConfigError, RecordError

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 2
"""Part of the cache key: raised whenever the same file would give another store."""

_TABLE = "records.arrow"
_REPORT = "report.json"
_ROWS_A_BATCH = 4096
_CHUNK = 256  # entries that a process is given at once
_LARGE = 64_000_000  # bytes of a file that takes longer to check than processes to start
_CURED_BY_PICTURES = ("image.", "size.", "mask.size", "box.outside", "region.outside")
_Row: TypeAlias = tuple[str, str, int, int, int]
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("record", pa.large_string()),  # one line of native JSON
        ("characters", pa.int32()),
        ("images", pa.int32()),
        ("regions", pa.int32()),
    ]
)


class RecordStore:
    """A sequence of records on disk.

    Records are made when asked for. A worker thus holds no Python objects, only pages of the file, which all
    processes share. Pickling a store passes its path on and nothing else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            # Not from_file's own formatting: it costs more than making the record.
            self._table: pa.Table = Dataset.from_file(str(self.path)).data.table
        except (OSError, pa.ArrowInvalid) as error:
            raise RecordError(
                f"{self.path}: not a record store: {error}. Remove it and start again."
            ) from error
        self._records = self._table.column("record")

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> Record:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return record_from_native(json.loads(self._records[index].as_py()))

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def __reduce__(self) -> tuple[type[RecordStore], tuple[Path]]:
        return RecordStore, (self.path,)

    @property
    def ids(self) -> list[str]:
        """All ids in order."""
        ids: list[str] = self._table.column("id").to_pylist()
        return ids

    def column(self, name: str) -> npt.NDArray[np.int32]:
        """Return a number a record: `"characters"` of all texts, `"images"` or `"regions"`."""
        values: npt.NDArray[np.int32] = self._table.column(name).to_numpy()
        return values


def default_cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/mustela`, or `~/.cache/mustela`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mustela"


def open_records(
    data_path: str | Path,
    *,
    image_folder: str | Path | None = None,
    options: CheckOptions | None = None,
    cache_dir: str | Path | None = None,
    fresh: bool = False,
) -> tuple[RecordStore | None, FileReport]:
    """Read and check a native file once, and open the result.

    Records with errors are left out and listed in the report; whether that is acceptable is the caller's
    choice (`DataReport.raise_for_errors`).

    Args:
        data_path: the file.
        image_folder: where its pictures lie; None looks at none.
        options: how to read and check.
        cache_dir: where stores are kept, by default `default_cache_dir()`.
        fresh: check again even if there is a store.

    Returns:
        The store, or None where a JSON array breaks off, as what follows is unknown; and the report. Files
        with faults that other pictures would cure are checked again each time, since pictures can be put
        right without a change of the file.

    Raises:
        RecordError: the file can't be opened.
        ConfigError: the cache folder can't be written.
    """
    options = options or CheckOptions()
    if Path(data_path).is_dir():
        choose_format(data_path, options.data_format)  # says what it is and how to convert it
    parent = Path(cache_dir or default_cache_dir()) / "records"
    home = parent / _key(Path(data_path), image_folder, options)
    cached = None if fresh else _cached(home, str(data_path))
    if cached is not None:
        return cached
    unfinished = _new_folder(parent)
    workers = _workers(Path(data_path))
    try:
        try:
            report = _build(unfinished, data_path, image_folder, options, workers=workers)
        except BrokenProcessPool:
            logger.warning(
                "%s: a process that helped to check it ended, or could not start: a script that opens data"
                ' needs `if __name__ == "__main__":`. One process checks it now.',
                data_path,
            )
            report = _build(unfinished, data_path, image_folder, options, workers=1)
        if report.unreadable_rest:
            return None, report
        _move(unfinished, home)
    except OSError as error:
        raise _not_writable(parent, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return RecordStore(home / _TABLE), report


def _workers(path: Path) -> int:
    """Return how many processes check a file: more than one where that is worth their start."""
    return cores() if path.is_file() and path.stat().st_size >= _LARGE else 1


def _new_folder(parent: Path) -> Path:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="unfinished-", dir=parent))
    except OSError as error:
        raise _not_writable(parent, error) from error


def _not_writable(parent: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{parent}: can't keep checked records there: {error.strerror or error}. "
        "Set data_cache_dir to a folder with room that you may write to."
    )


def _key(data_path: Path, image_folder: str | Path | None, options: CheckOptions) -> str:
    try:
        with data_path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordError(f"{data_path}: can't read the data file: {error.strerror or error}.") from error
    folder = None if image_folder is None else str(Path(image_folder).resolve())
    settings = [FORMAT_VERSION, content, folder, asdict(options)]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _cached(home: Path, data_path: str) -> tuple[RecordStore, FileReport] | None:
    """Return a store and its report; None if there is none, it is damaged, or pictures had faults."""
    try:
        value = json.loads((home / _REPORT).read_text(encoding="utf-8"))
        store = RecordStore(home / _TABLE)
    except (OSError, ValueError):
        return None
    report = FileReport.from_json({**value, "path": data_path})
    if any(kind.startswith(_CURED_BY_PICTURES) for kind in report.faults):
        return None
    return store, report


class _Entry(NamedTuple):
    """What one entry of a file gave: its faults, and the row of its record, if it is one."""

    faults: tuple[Fault, ...]
    row: _Row | None
    turns: int
    last: bool


class _Checker:
    """Checks chunks of one file and makes rows of them."""

    def __init__(self, path: str, folder: str | Path | None, options: CheckOptions) -> None:
        self._path, self._options = path, options
        self._folder = options.open_folder(folder)

    def __call__(self, chunk: Sequence[Found]) -> list[_Entry]:
        return [self._check(found) for found in chunk]

    def _check(self, found: Found) -> _Entry:
        checked = check_found(found, self._options, folder=self._folder, file=self._path)
        record = checked.record
        if record is None:
            return _Entry(checked.faults, None, 0, found.last)
        row = record.id, dump_record(record), record.characters, len(record.images), record.regions
        return _Entry(checked.faults, row, len(record.turns), found.last)


def _build(
    folder: Path,
    data_path: str | Path,
    image_folder: str | Path | None,
    options: CheckOptions,
    *,
    workers: int,
) -> FileReport:
    report = FileReport(str(data_path), None if image_folder is None else str(image_folder))
    chosen = choose_format(data_path, options.data_format)
    report.format = chosen.because
    source = Source(Path(data_path), None if image_folder is None else Path(image_folder))
    chunks = in_chunks(chosen.format.read(source), _CHUNK)
    checked = in_processes(_Checker, (str(data_path), image_folder, options), chunks, workers=workers)
    rows: list[_Row] = []
    with settled(), pa.OSFile(str(folder / _TABLE), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
        for entry in chain.from_iterable(checked):
            report.unreadable_rest |= entry.last
            regions = 0 if entry.row is None else entry.row[-1]
            report.add_record(entry.faults, kept=entry.row is not None, turns=entry.turns, regions=regions)
            if entry.row is not None:
                rows.append(entry.row)
            if len(rows) == _ROWS_A_BATCH:
                writer.write_batch(_batch(rows))
                rows.clear()
        # An empty store still needs a batch: Dataset.from_file refuses a table without any.
        writer.write_batch(_batch(rows))
    text = json.dumps(asdict(report), ensure_ascii=True)
    (folder / _REPORT).write_text(text, encoding="utf-8")
    return report


def _batch(rows: Sequence[_Row]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _move(unfinished: Path, home: Path) -> None:
    """Put a finished store in its place.

    File by file, the report last: a process that finds a report also finds a table, whoever else is writing.
    """
    home.mkdir(exist_ok=True)
    for name in (_TABLE, _REPORT):
        (unfinished / name).replace(home / name)
