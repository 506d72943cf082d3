"""Rows of Parquet files and Arrow folders, one batch in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mustela.data.formats.peek import arrow_schema
from mustela.errors import RecordError

_BATCH = 256


def table_files(path: Path) -> list[Path]:
    """Return the tables below a folder, or the file itself.

    Raises:
        RecordError: there is none.
    """
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and _magic(file) in (b"PAR1", b"ARRO", b"\xff" * 4)
    ]
    # Next to the data a folder written by `datasets` may hold what its cache made of it.
    files = [file for file in files if not file.name.startswith("cache-")]
    if not files:
        raise RecordError(f"{path}: no Parquet or Arrow file in it.")
    return files


def _magic(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(4)


def table_rows(path: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield (file, row counted from 1, row).

    Raises:
        RecordError: a file is broken; names it.
    """
    for file in table_files(path):
        number = 0
        try:
            for batch in _batches(file):
                for row in batch.to_pylist():
                    number += 1
                    yield str(file), number, row
        except (pa.ArrowException, OSError) as error:
            raise RecordError(f"{file}: broken or cut off after row {number}: {error}.") from error


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    if _magic(file) == b"PAR1":
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(_BATCH)
        return
    with pa.memory_map(str(file)) as mapped:
        try:
            reader = pa.ipc.open_file(mapped)
        except pa.ArrowInvalid:
            mapped.seek(0)
            yield from pa.ipc.open_stream(mapped)
        else:
            yield from (reader.get_batch(index) for index in range(reader.num_record_batches))


def class_names(path: Path) -> dict[str, list[str]]:
    """Return the names of classes by column, which `datasets` keeps in a table's schema; dots lead inside."""
    file = table_files(path)[0]
    try:
        schema = pq.read_schema(file) if _magic(file) == b"PAR1" else arrow_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{file}: broken or cut off: {error}.") from error
    found: dict[str, list[str]] = {}
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is not None:
        _collect(json.loads(metadata).get("info", {}).get("features", {}), "", found)
    return found


def _collect(feature: Any, name: str, found: dict[str, list[str]]) -> None:
    if isinstance(feature, list) and feature:
        _collect(feature[0], name, found)
    elif isinstance(feature, dict):
        if feature.get("_type") == "ClassLabel":
            found[name] = [str(each) for each in feature["names"]]
        elif feature.get("_type") in ("Sequence", "List", "LargeList"):
            _collect(feature["feature"], name, found)
        elif not isinstance(feature.get("_type"), str):
            for key, value in feature.items():
                _collect(value, f"{name}.{key}" if name else key, found)
