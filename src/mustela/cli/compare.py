"""`mustela compare`: evaluations on benchmarks side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Write one page that compares evaluations on benchmarks: figures with intervals, differences to the first
with a paired bootstrap, breakdowns, and pictures of what one has right and the other wrong.

  mustela compare refcoco-val-before refcoco-val-after --out compare.html
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela compare`."""
    parser = add_command(
        subparsers,
        "compare",
        summary="compare evaluations on benchmarks on one page",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="what `mustela evaluate --benchmark` left")
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="how to call them (default: their folders)"
    )
    parser.add_argument("--root", metavar="DIR", help="where the pictures are, if they moved")
    parser.add_argument("--out", default="compare.html", metavar="FILE", help="the page (compare.html)")
    parser.add_argument("--title", default="Benchmarks side by side", help="heading of the page")
    parser.add_argument("--pictures", type=int, default=12, metavar="N", help="most pictures of a pair (12)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def run(args: argparse.Namespace) -> None:
    """Read the folders, write the page, print where it is."""
    if args.pictures < 0:
        raise ConfigError(f"--pictures is {args.pictures}. It is at least 0.")
    from mustela.evaluate.benchmarks.comparison_page import write_benchmark_comparison

    page = write_benchmark_comparison(
        args.folders,
        out=Path(args.out),
        names=args.names,
        root=args.root,
        title=args.title,
        pictures=args.pictures,
        seed=args.seed,
    )
    print(f"page: {page}")
