"""Checking whole files of any size in one pass, in parallel, without loading a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mustela.data.check import CheckOptions
from mustela.data.faults import Fault
from mustela.data.formats import Found, Source
from mustela.data.formats.choose import choose_stream
from mustela.data.image_folder import ImageFolder, locate_image
from mustela.data.parallel import in_chunks, in_processes
from mustela.data.reading import check_found
from mustela.data.record import Record
from mustela.data.report import FaultCount, FileReport
from mustela.data.survey import Survey, Suspicion, shared_pictures, suspicions
from mustela.errors import ImageError

_CHUNK = 128

Measure = Callable[[Record], int]
"""Number of tokens of a record; raises `MustelaError` where there is none."""


@dataclass(slots=True)
class Inspection:
    """What was found in files: a report and a survey each, and what is suspicious."""

    reports: list[FileReport] = field(default_factory=list)
    surveys: list[Survey] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one chunk of entries gave: the faults, turns and regions of each, and the counts of all."""

    entries: list[tuple[list[Fault], bool, int, int, bool]]
    survey: Survey


def inspect_files(
    files: Sequence[tuple[str, str | None]],
    options: CheckOptions,
    *,
    workers: int = 1,
    progress: Callable[[str, int], None] | None = None,
) -> Inspection:
    """Check files and count what is in them.

    Args:
        files: paths, each with the folder of its pictures, or None to look at none.
        options: how to read and check.
        workers: processes; 1 works in this one.
        progress: called with the file and the number of records done.

    Raises:
        RecordError: a file can't be opened, or holds no conversations.
    """
    result = Inspection()
    for path, folder in files:
        report, survey = FileReport(path, folder), Survey()
        for outcome in _outcomes(path, folder, options, report, workers):
            for faults, kept, turns, regions, last in outcome.entries:
                report.unreadable_rest |= last
                report.add_record(faults, kept=kept, turns=turns, regions=regions)
            survey.merge(outcome.survey)
            if progress is not None:
                progress(path, report.read)
        if not report.read:
            said = f"{path}: it holds no record. Write some into it, or don't name it."
            report.faults["file.empty"] = FaultCount("error", 1, examples=[said])
        result.reports.append(report)
        result.surveys.append(survey)
        counts = {kind: entry.count for kind, entry in report.faults.items()}
        result.suspicions += suspicions(path, survey, counts, box_format=options.box_format)
    named = [(report.path, survey) for report, survey in zip(result.reports, result.surveys, strict=True)]
    result.suspicions += shared_pictures(named)
    return result


def _outcomes(
    path: str, folder: str | None, options: CheckOptions, report: FileReport, workers: int
) -> Iterator[_Outcome]:
    chosen = choose_stream(path, options.data_format)
    report.format = chosen.because
    items = chosen.format.read(Source(Path(path), None if folder is None else Path(folder)))
    return in_processes(_Worker, (path, folder, options), in_chunks(items, _CHUNK), workers=workers)


class _Worker:
    """Checks chunks of one file."""

    def __init__(self, path: str, folder: str | None, options: CheckOptions) -> None:
        self._path = path
        self._options = options
        self._folder: ImageFolder | None = options.open_folder(folder)

    def __call__(self, chunk: Sequence[Found]) -> _Outcome:
        survey = Survey()
        return _Outcome([self._check(found, survey) for found in chunk], survey)

    def _check(self, found: Found, survey: Survey) -> tuple[list[Fault], bool, int, int, bool]:
        checked = check_found(found, self._options, folder=self._folder, file=self._path)
        record = checked.record
        if record is None:
            return list(checked.faults), False, 0, 0, found.last
        survey.add(record)
        for image in record.images:
            survey.mark_picture(found.pictures.get(image.path) or self._file(image.path), image.path)
        return list(checked.faults), True, len(record.turns), record.regions, found.last

    def _file(self, path: str) -> Path | None:
        if self._folder is None or self._options.images == "none":
            return None
        try:
            return locate_image(
                path,
                self._folder.folder,
                absolute_paths=self._options.absolute_paths,
                symlinks=self._options.symlinks,
            )
        except ImageError:
            return None
