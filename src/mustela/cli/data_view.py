"""`mustela data view`: a page of records with their regions."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.cli.data_check import add_file_arguments, check_options, pair_folders
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Write one self-contained HTML page that shows records: pictures with regions in colour, linked to the words.

  mustela data view train.json --images images
  mustela data view big.jsonl --images images --start 100000 --limit 500

Without --start the records are spread evenly over the file. Filters for words, answers, faults and length are
on the page.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data view`."""
    parser = add_command(
        subparsers, "view", summary="show records with their regions", run=run, description=_DESCRIPTION
    )
    add_file_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="page to write (FILE.html in this folder)")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="records to show (200)")
    parser.add_argument(
        "--start", type=int, default=-1, metavar="N", help="first record, counted from 0 (spread evenly)"
    )


def run(args: argparse.Namespace) -> None:
    """Read the records, write the page, and print where it is."""
    from mustela.data.reading import read_checked
    from mustela.data.report import FileReport
    from mustela.pages import write_page
    from mustela.view.records import records_page, sample_positions

    if args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: show at least one record.")
    if args.out is not None and len(args.files) > 1:
        raise ConfigError("--out names one page, but there are several files.")
    options = check_options(args)
    for file, folder in pair_folders(args.files, args.images):
        # Pictures are looked at only where they are shown; counting goes over all records.
        counting = check_options(args, images="none")
        report = FileReport(file)
        total = sum(1 for _ in read_checked(file, counting, report=report))
        wanted = set(sample_positions(total, args.limit, args.start))
        if not wanted:
            raise ConfigError(f"--start {args.start}: {file} has {total} records.")
        last = max(wanted) + 1
        shown = (
            checked
            for number, checked in enumerate(
                islice(read_checked(file, options, folder=options.open_folder(folder)), last)
            )
            if number in wanted
        )
        html = records_page(
            shown, title=Path(file).name, folder=folder, total=total, reading=report.format, options=options
        )
        page = write_page(args.out or f"{Path(file).name}.html", html)
        print(f"page: {page} ({len(wanted)} of {total} records)")
