"""`mustela data stats`: counts, sizes and lengths of data files, with plots."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.cli.data_check import add_file_arguments, check_options, default_workers, pair_folders

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data stats`."""
    parser = add_command(subparsers, "stats", summary="count what is in data files, with plots", run=run)
    add_file_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="write a page with plots")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (a core each for large files)")


def run(args: argparse.Namespace) -> None:
    """Count, print, and write the page."""
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
    if args.out is not None:
        title = args.files[0] if len(args.files) == 1 else f"{len(args.files)} data files"
        print(f"page: {write_page(args.out, stats_page(inspection, title=title))}")
