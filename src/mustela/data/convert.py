"""Converting files of any format to native records, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mustela.data.check import CheckOptions, check_record
from mustela.data.faults import Fault, FaultLog
from mustela.data.formats import Format, Found, Scene, Source
from mustela.data.image_folder import ImageFolder
from mustela.data.native import write_records
from mustela.data.record import Record
from mustela.data.report import FileReport
from mustela.data.tasks.census import Census
from mustela.data.tasks.compose import compose
from mustela.data.tasks.options import TaskOptions
from mustela.data.tasks.phrasings import Phrasings
from mustela.data.tasks.placed import PlacedScene, place_scene
from mustela.errors import RecordError

_PICTURES = "images"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to read, what to ask, and how to say it.

    Args:
        format: of the source.
        source: the files.
        phrasings: texts of questions and answers.
        tasks: what is made of annotations; conversations stay as they are.
        names: other words for the names of objects.
        checks: how pictures and regions are checked.
    """

    format: Format
    source: Source
    phrasings: Phrasings
    tasks: TaskOptions = field(default_factory=TaskOptions)
    names: Mapping[str, str] = field(default_factory=dict)
    checks: CheckOptions = field(default_factory=CheckOptions)


@dataclass(slots=True)
class Converted:
    """What became of it: `report` counts what was read and what was left out, `census` the objects."""

    report: FileReport
    census: Census
    records: int = 0
    pictures: Path | None = None


def convert_file(conversion: Conversion, out: str | Path) -> Converted:
    """Write the records of a source to a `.json` or `.jsonl` file.

    Annotations are read twice: once to count names, for negatives and balance, once to write. Pictures that
    lie inside the source are written to the folder `images` beside the file. An object that can't be used is
    left out and reported; so is a conversation.

    Raises:
        RecordError: the source can't be read, or no record comes of it.
    """
    out = Path(out)
    source = conversion.source
    report = FileReport(str(source.path), None if source.images is None else str(source.images))
    converted = Converted(report, Census())
    if conversion.format.gives == "annotations":
        for _, scene in _scenes(conversion, converted, out, report=None):
            if scene is not None:
                converted.census.add(scene)
    converted.records = write_records(out, _records(conversion, converted, out))
    if not converted.records:
        tasks = ", ".join(conversion.tasks.tasks)
        # The tasks have no part in it where everything has errors, or holds conversations.
        asked = conversion.format.gives == "annotations" and report.skipped < report.read
        raise RecordError(
            f"{source.path}: no record came of {report.read} entries"
            + (f" with the tasks {tasks}.\n" if asked else ", which have errors.\n" if report.read else ".\n")
            + "\n".join(report.lines("error")[:10] + report.lines("warning")[:5])
        )
    return converted


def _records(conversion: Conversion, converted: Converted, out: Path) -> Iterator[Record]:
    for number, (found, scene) in enumerate(_scenes(conversion, converted, out, report=converted.report)):
        if scene is not None:
            yield from compose(
                scene,
                phrasings=conversion.phrasings,
                census=converted.census,
                options=conversion.tasks,
                number=number,
            )
        elif isinstance(found, Record):
            yield found


def _scenes(
    conversion: Conversion, converted: Converted, out: Path, *, report: FileReport | None
) -> Iterator[tuple[Record | None, PlacedScene | None]]:
    """Yield what was found as a checked record or scene; neither where it can't be used."""
    folder = conversion.checks.open_folder(conversion.source.images)
    for found in conversion.format.read(conversion.source):
        if found.pictures:
            folder = folder if converted.pictures is not None else None
            converted.pictures = out.parent / _PICTURES
            _keep(found.pictures, converted.pictures)
            folder = folder or conversion.checks.open_folder(converted.pictures)
        record, scene, faults = _checked(found, conversion, folder)
        if report is not None:
            turns = () if record is None else record.turns
            report.unreadable_rest |= found.last
            report.add_record(
                faults,
                kept=record is not None or scene is not None,
                turns=len(turns),
                regions=sum(len(turn.regions) for turn in turns) if scene is None else len(scene.things),
            )
        yield record, scene


def _checked(
    found: Found, conversion: Conversion, folder: ImageFolder | None
) -> tuple[Record | None, PlacedScene | None, list[Fault]]:
    if found.fault is not None:
        log = FaultLog(found.file, found.line)
        log.refuse("source.fault", f"{found.fault}.")
        return None, None, log.faults
    if isinstance(found.value, Scene):
        scene, faults = place_scene(
            found.value,
            conversion.checks,
            folder=folder,
            names=conversion.names,
            file=found.file,
            line=found.line,
        )
        # The object is left out, the scene is used: for the report, that is a repair.
        if scene is not None:
            faults = [replace(fault, severity="warning") for fault in faults]
        return None, scene, faults
    checked = check_record(found.value, conversion.checks, folder=folder, file=found.file, line=found.line)
    return checked.record, None, list(checked.faults)


def _keep(pictures: Mapping[str, bytes], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures.items():
            file = folder / name
            # Names hold a mark of the content, so one that is there is the same picture.
            if not file.exists():
                file.write_bytes(content)
    except OSError as error:
        raise RecordError(f"{folder}: can't write the pictures: {error.strerror or error}.") from error
