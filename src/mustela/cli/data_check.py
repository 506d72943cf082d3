"""`mustela data check`: find every fault of data files before training."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from mustela.data.check import CheckOptions
    from mustela.data.inspection import Inspection

__all__ = ["add_file_arguments", "add_parser", "check_options", "default_workers", "pair_folders", "run"]

_DESCRIPTION = """\
Read data files once and list every fault: what is wrong, where, how often, and what to do. Also what is
suspicious: boxes that look like another convention, tiny boxes, one answer for everything, pictures that two
files share (training and test), skewed answers and, with --model, records that don't fit the token limit.

  mustela data check train.json test.json --images images

The exit status is 0 for clean data and 2 for faults; with --strict, 2 for suspicious data as well.
"""
_STATUS = 2
_SMALL = 2 << 20


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which files to read, and how."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="record files")
    parser.add_argument(
        "--images",
        "--image_folder",  # as training calls it
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of the pictures: one a file, or one for all (beside each file)",
    )
    parser.add_argument("--format", default="auto", help="ferret, llava, shikra, swift ... (auto: looked up)")
    parser.add_argument("--box_format", default="xyxy", help="xyxy, xywh, norm1 or norm1000 (xyxy)")
    parser.add_argument("--size_policy", default="error", help="other sizes of files: error or scale (error)")


def check_options(args: argparse.Namespace, *, images: Any = "size") -> CheckOptions:
    """Return the options that those arguments say."""
    from mustela.data.check import CheckOptions

    return CheckOptions(
        box_format=args.box_format, size_policy=args.size_policy, data_format=args.format, images=images
    )


def pair_folders(files: Sequence[str], folders: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return each file with the folder of its pictures."""
    if len(folders) not in (0, 1, len(files)):
        raise ConfigError(f"{len(files)} files, but {len(folders)} folders after --images.")
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"--images {folder}: there is no such folder.")
    given = list(folders) or [str(Path(file).parent) for file in files]
    return list(zip(files, given * len(files) if len(given) == 1 else given, strict=True))


def default_workers(files: Sequence[str]) -> int:
    """Return a process a core, or one where starting more would take longer than the files do."""
    from mustela.data.parallel import cores

    size = sum(Path(file).stat().st_size for file in files if Path(file).is_file())
    return 1 if size < _SMALL else cores()


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data check`."""
    parser = add_command(
        subparsers,
        "check",
        summary="list every fault of data files, and what is suspicious",
        run=run,
        description=_DESCRIPTION,
    )
    add_file_arguments(parser)
    parser.add_argument(
        "--check_images", default="decode", help="decode pictures, read their size, or none (decode)"
    )
    parser.add_argument("--model", metavar="DIR", help="count tokens as this model does")
    parser.add_argument("--max_length", type=int, default=2048, metavar="N", help="token limit (2048)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (a core each for large files)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was found")
    parser.add_argument("--strict", action="store_true", help="exit status 2 for suspicious data as well")
    parser.add_argument("--lines", type=int, default=40, metavar="N", help="faults to print (40)")


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 2 for faulty data."""
    from mustela.data.inspection import inspect_files
    from mustela.data.report import DataReport

    files = pair_folders(args.files, args.images)
    options = check_options(args, images=args.check_images)
    workers = args.workers if args.workers is not None else default_workers(args.files)
    with _progress() as progress:
        inspection = inspect_files(files, options, workers=workers, progress=progress)
    if args.model is not None:
        from mustela.data.processor import MustelaProcessor
        from mustela.data.token_lengths import add_lengths
        from mustela.infer.query import default_options
        from mustela.model.loading import resolve_model_path

        processor = MustelaProcessor.from_pretrained(resolve_model_path(args.model))
        add_lengths(
            inspection,
            files,
            options,
            processor=processor,
            rendering=default_options(processor),
            max_length=args.max_length,
        )
    report = DataReport(inspection.reports)
    if args.json is not None:
        _write(args.json, report, inspection)
    print(report.summary(max_lines=args.lines))
    for suspicion in inspection.suspicions:
        print(f"suspicious {suspicion.kind}: {suspicion}")
    faulty = any(file.count("error") for file in report.files)
    bad = faulty or report.has_errors or (args.strict and bool(inspection.suspicions))
    if not bad and not inspection.suspicions:
        print("Nothing to complain about.")
    return _STATUS if bad else 0


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None] | None]:
    """Give what shows the progress on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} records"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(path: str, done: int) -> None:
            if path not in tasks:
                # How many there are shows when the end is reached: the bar only says that it goes on.
                tasks[path] = bar.add_task(path, total=None)
            bar.update(tasks[path], completed=done)

        yield show


def _write(path: str, report: Any, inspection: Inspection) -> None:
    value = {
        **report.to_json(),
        "suspicious": [
            {"kind": each.kind, "file": each.file, "message": each.message, "remedy": each.remedy}
            for each in inspection.suspicions
        ],
        "surveys": [survey.to_json() for survey in inspection.surveys],
    }
    text = json.dumps(value, ensure_ascii=False, indent=1)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--json {path}: can't be written: {error.strerror or error}.") from error
