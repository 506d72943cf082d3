"""Record files read, checked and mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mustela.data.check import CheckOptions
from mustela.data.mixture import Mixture, OnBadRecord, load_mixture, make_sources


@dataclass(frozen=True)
class Files:
    """Mixed records with the report on their files and the mixture as a table."""

    source: Mixture
    report: dict[str, Any]
    table: str


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
