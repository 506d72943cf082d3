"""Reading whole files of records, one at a time, with every fault named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mustela.data.check import Checked, CheckOptions, check_record
from mustela.data.check_boxes import BoxFormat
from mustela.data.faults import FaultLog
from mustela.data.formats import Found, Scene, Source
from mustela.data.formats.choose import choose_format
from mustela.data.image_folder import ImageFolder, PicturesInside
from mustela.data.record import Record
from mustela.data.report import FileReport
from mustela.errors import RecordError


def read_checked(
    path: str | Path,
    options: CheckOptions | None = None,
    *,
    folder: ImageFolder | None = None,
    report: FileReport | None = None,
) -> Iterator[Checked]:
    """Yield every record of a file with its faults; unreadable places come as faults without a record.

    Args:
        path: a file of conversations in any format; by default the content decides which, never the name.
        options: how to read and check.
        folder: where the pictures lie; without it they are not looked at.
        report: counts what is yielded.

    Raises:
        RecordError: the file can't be opened, or holds annotations and no conversations.
    """
    chosen = choose_format(path, (options or CheckOptions()).data_format)
    if report is not None:
        report.format = chosen.because
    source = Source(Path(path), None if folder is None else folder.folder)
    for item in chosen.format.read(source):
        checked = check_found(item, options, folder=folder, file=str(path))
        if report is not None:
            record = checked.record
            report.unreadable_rest |= item.last
            report.add_record(
                checked.faults,
                kept=record is not None,
                turns=0 if record is None else len(record.turns),
                regions=0 if record is None else record.regions,
            )
        yield checked


def check_found(
    found: Found, options: CheckOptions | None = None, *, folder: ImageFolder | None, file: str
) -> Checked:
    """Check what a reader found in a file; an unreadable place is a fault without a record.

    Pictures that came with it are looked at in place of those of the folder.
    """
    log = FaultLog(file, found.line)
    if found.fault is not None:
        log.refuse("json.broken", f"{found.fault}.")
        return Checked(None, tuple(log.faults))
    if isinstance(found.value, Scene):
        remedy = "Make one: mustela data convert --task caption."
        log.refuse("turns.empty", "a caption and no conversation.", remedy)
        return Checked(None, tuple(log.faults))
    options = options or CheckOptions()
    if found.pictures:
        folder = PicturesInside(found.pictures, max_pixels=options.max_image_pixels)
    return check_record(found.value, options, folder=folder, file=file, line=found.line)


def read_records(path: str | Path, *, box_format: BoxFormat = "xyxy") -> Iterator[Record]:
    """Yield the records of a file; sizes of pictures are those that the records state.

    Args:
        path: a JSON array of records, or one record a line.
        box_format: what the numbers of `box_x1y1x2y2` are; records have pixels.

    Raises:
        RecordError: the file can't be read, or a record has a fault; names file, line, record, turn, field
            and the remedy. `mustela train` lists all faults of all files at once.
    """
    for checked in read_checked(path, CheckOptions(box_format=box_format, images="none")):
        if checked.record is None:
            errors = [fault for fault in checked.faults if fault.severity == "error"]
            raise RecordError("\n".join(str(fault) for fault in errors))
        yield checked.record
