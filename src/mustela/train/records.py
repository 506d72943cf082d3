"""Record files read, checked and mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.data.check import CheckOptions
from mustela.data.formats import Source
from mustela.data.mixture import Mixture, OnBadRecord, load_mixture, make_sources
from mustela.data.record import Record
from mustela.data.streamed import RecordFiles


@dataclass(frozen=True)
class Files:
    """Mixed records with the report on their files and the mixture as a table."""

    source: Mixture
    report: dict[str, Any]
    table: str

    def records(self) -> Iterator[Record]:
        """Yield every record."""
        return (self.source[index][0] for index in range(len(self.source)))

    def ids(self, positions: Sequence[int]) -> list[str]:
        """Return ids of records by position."""
        return [self.source[index][0].id for index in positions]


@dataclass(frozen=True)
class StreamedFiles:
    """Record files that are read as they come."""

    source: RecordFiles

    @property
    def report(self) -> dict[str, Any]:
        """What there is to say before anything is read."""
        return {
            "streaming": True,
            "files": [
                {"path": str(file.source.path), "format": file.format, "bytes": file.size}
                for file in self.source.files
            ],
        }

    @property
    def table(self) -> str:
        """What is read as what, a line each."""
        return "\n".join([*self.source.reading, "Records are read and checked when their turn comes."])

    def records(self) -> Iterator[Record]:
        """Yield every record that has no errors."""
        return self.source.records()

    def ids(self, positions: Sequence[int]) -> list[str]:
        """Return ids of records by position; reads their files again."""
        return self.source.names(positions)


def open_files(
    paths: Sequence[str],
    folders: Sequence[str],
    *,
    multiples: Sequence[float],
    options: CheckOptions,
    on_bad_record: OnBadRecord,
    cache_dir: str | None,
    seed: int,
) -> Files:
    """Read, check and mix record files; see `mustela.data.mixture.load_mixture`."""
    sources = make_sources(paths, image_folder=folders, data_multiple=multiples)
    mixture, found = load_mixture(
        sources, options=options, on_bad_record=on_bad_record, cache_dir=cache_dir, seed=seed
    )
    report = found.to_json()
    for of_file, part in zip(report["files"], mixture.parts, strict=True):
        of_file |= {"multiple": part.source.multiple, "samples": len(part.chosen)}
    return Files(mixture, {**report, "samples": len(mixture)}, mixture.table())


def stream_files(paths: Sequence[str], folders: Sequence[str], *, options: CheckOptions) -> StreamedFiles:
    """Look at the beginnings of record files; see `mustela.data.streamed.RecordFiles`."""
    sources = [
        Source(Path(each.data_path), None if each.image_folder is None else Path(each.image_folder))
        for each in make_sources(paths, image_folder=folders)
    ]
    return StreamedFiles(RecordFiles(sources, checks=options))
