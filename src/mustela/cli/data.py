"""`mustela data`: make data sets."""

from __future__ import annotations

import argparse
import os
import time

from mustela.cli.command import Subparsers, add_command

__all__ = ["add_parser", "run"]

_SHAPES_DESCRIPTION = """\
Write a synthetic data set of coloured shapes: pictures in DIR/images and Ferret-format JSON files in DIR.

  train.json         all tasks in full sentences: referring, grounding, presence, counting, relations, detection
  train_refer.json   a first stage: a region, its name, nothing else
  train_detect.json  a second stage: every object with its box
  val.json           held-out questions of all tasks, each in a conversation of its own
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data`."""
    parser = add_command(subparsers, "data", summary="make data sets", run=run)
    kinds = parser.add_subparsers(title="data sets", dest="data_set", metavar="DATA_SET", required=True)
    shapes = add_command(
        kinds, "shapes", summary="a synthetic set of coloured shapes", run=run, description=_SHAPES_DESCRIPTION
    )
    shapes.add_argument("--out", required=True, metavar="DIR", help="folder to write; must be new or empty")
    shapes.add_argument("--train", type=int, default=4000, metavar="N", help="training pictures (default: 4000)")
    shapes.add_argument("--val", type=int, default=400, metavar="N", help="held-out pictures (default: 400)")
    shapes.add_argument("--seed", type=int, default=0, help="another seed gives other pictures (default: 0)")
    shapes.add_argument(
        "--world", default="first", help="which shapes, colours and words: first, new, or a JSON file (default: first)"
    )
    shapes.add_argument(
        "--workers",
        type=int,
        default=None,
        metavar="N",
        help="processes; any number writes the same files (default: one for each processor)",
    )
    shapes.add_argument("--force", action="store_true", help="write into a folder that isn't empty")


def run(args: argparse.Namespace) -> None:
    """Write the data set and print what is in it."""
    from mustela.data.shapes import write_shapes

    start = time.perf_counter()
    files = write_shapes(
        args.out,
        train=args.train,
        val=args.val,
        seed=args.seed,
        world=args.world,
        workers=args.workers if args.workers is not None else os.cpu_count() or 1,
        force=args.force,
    )
    print(f"wrote {args.train + args.val} pictures to {args.out} in {time.perf_counter() - start:.0f} s")
    width = max(len(str(file.path)) for file in files)
    for file in files:
        print(f"  {file.path!s:{width}}  {file.records:7d} records  {file.questions:7d} questions")
