"""`mustela data stats`: counts, sizes and lengths of data files, with plots."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mustela.cli.command import Subparsers, add_command
from mustela.cli.data_check import add_file_arguments, check_options, default_workers, pair_folders

if TYPE_CHECKING:
    from mustela.data.report import FileReport

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data stats`."""
    parser = add_command(subparsers, "stats", summary="count what is in data files, with plots", run=run)
    add_file_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="write a page with plots")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (a core each for large files)")


def run(args: argparse.Namespace) -> int:
    """Count, print, and write the page; the status is 2 where a file has no record that can be used."""
    from mustela.data.inspection import inspect_files
    from mustela.pages import write_page
    from mustela.view.stats import stats_page, stats_text

    inspection = inspect_files(
        pair_folders(args.files, args.images),
        check_options(args),
        workers=args.workers if args.workers is not None else default_workers(args.files),
    )
    print(stats_text(inspection))
    for suspicion in inspection.suspicions:
        print(f"suspicious {suspicion.kind}: {suspicion}")
    for report in inspection.reports:
        for line in _left_out(report, images_given=bool(args.images)):
            print(line)
    if args.out is not None:
        title = args.files[0] if len(args.files) == 1 else f"{len(args.files)} data files"
        print(f"page: {write_page(args.out, stats_page(inspection, title=title))}")
    return 0 if all(report.kept for report in inspection.reports) else 2


def _left_out(report: FileReport, *, images_given: bool) -> list[str]:
    """Return how many records of a file are not counted, and why."""
    errors = report.lines("error")
    if not errors:
        return []
    lines = [f"{report.path}: {report.skipped} of {report.read} records are left out. The first: {errors[0]}"]
    if not images_given and "image.missing" in report.faults:
        lines.append("Pictures are looked for beside the file: say where they are with --images DIR.")
    return lines
