"""`mustela data view`: a page of records with their regions."""

from __future__ import annotations

import argparse
from contextlib import suppress
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

  mustela data view big.jsonl --images images --serve

The page has filters for words, answers, faults and length. Without --start its records are spread evenly over
the file. With --serve all are shown, page by page on this machine, and the filters go over the whole file.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data view`."""
    parser = add_command(
        subparsers, "view", summary="show records with their regions", run=run, description=_DESCRIPTION
    )
    add_file_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="page to write (FILE.html in this folder)")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="records to show (200)")
    parser.add_argument("--start", type=int, metavar="N", help="first record, counted from 0 (spread evenly)")
    parser.add_argument(
        "--serve", action="store_true", help="show all records in a browser on this machine, write no page"
    )
    parser.add_argument("--port", type=int, default=8321, metavar="N", help="of --serve, 0: any (8321)")


def run(args: argparse.Namespace) -> None:
    """Read the records, write the page, and print where it is."""
    from mustela.data.reading import read_checked
    from mustela.data.report import FileReport
    from mustela.pages import write_page
    from mustela.view.records import records_page, sample_positions

    if args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: show at least one record.")
    if args.start is not None and args.start < 0:
        raise ConfigError(f"--start {args.start}: records are counted from 0.")
    if args.out is not None and len(args.files) > 1:
        raise ConfigError("--out names one page, but there are several files.")
    options = check_options(args)
    if args.serve:
        _serve(args)
        return
    for file, folder in pair_folders(args.files, args.images):
        # Pictures are looked at only where they are shown; counting goes over all records.
        counting = check_options(args, images="none")
        report = FileReport(file)
        total = sum(1 for _ in read_checked(file, counting, report=report))
        if not total:
            raise ConfigError(f"{file}: it holds no record. Write some into it, or don't name it.")
        wanted = set(sample_positions(total, args.limit, -1 if args.start is None else args.start))
        if not wanted:
            raise ConfigError(f"--start {args.start}: {file} has {total} records, the last is {total - 1}.")
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


def _serve(args: argparse.Namespace) -> None:
    """Show a whole file until the user ends it."""
    from mustela.data.reading import read_checked
    from mustela.data.report import FileReport
    from mustela.view.index import RecordIndex
    from mustela.view.server import make_server

    if len(args.files) > 1 or args.out is not None:
        raise ConfigError("--serve shows one file and writes no page: name one, without --out.")
    ((file, folder),) = pair_folders(args.files, args.images)
    report = FileReport(file)
    # Pictures are looked at only where they are shown.
    counting = check_options(args, images="none")
    with RecordIndex(read_checked(file, counting, report=report)) as index:
        server = make_server(
            index,
            title=Path(file).name,
            folder=folder,
            reading=report.format,
            options=check_options(args),
            port=args.port,
        )
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address} shows {len(index)} records; Ctrl+C ends it.", flush=True)
        with server, suppress(KeyboardInterrupt):
            server.serve_forever()
