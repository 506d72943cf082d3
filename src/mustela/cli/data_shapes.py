"""`mustela data shapes`: write the synthetic data set."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

from mustela.cli.command import Subparsers, add_command

__all__ = ["add_parser", "run"]

_SHAPES_DESCRIPTION = """\
Write a synthetic data set of coloured shapes: pictures in DIR/images and Ferret-format JSON files in DIR.

  train.json           all tasks in full sentences: refer, ground, presence, count, relation, detect
  train_refer.json     a first stage: a region, its name, nothing else
  train_detect.json    a second stage: every object with its box
  train_apart_short.json
                       all that can be asked of a picture in few words, for --separate_rounds
  train_apart.json     all tasks in full sentences, for --separate_rounds
  train_freeform.json  overlapping objects by point, scribble, polygon and mask, in pairs of regions that
                       have about the same box, so that the box alone doesn't say which object is meant
  val.json             held-out questions of all tasks, each in a conversation of its own
  val_freeform.json    held-out questions like those of train_freeform.json

A picture depends only on the world, the seed and its number: a larger set begins with the smaller one.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data shapes`."""
    shapes = add_command(
        subparsers,
        "shapes",
        summary="a synthetic set of coloured shapes",
        run=run,
        description=_SHAPES_DESCRIPTION,
    )
    shapes.add_argument("--out", required=True, metavar="DIR", help="folder to write; must be new or empty")
    shapes.add_argument("--train", type=int, default=4000, metavar="N", help="training pictures (4000)")
    shapes.add_argument("--val", type=int, default=400, metavar="N", help="held-out pictures (400)")
    shapes.add_argument("--seed", type=int, default=0, help="another seed gives other pictures (0)")
    shapes.add_argument(
        "--world",
        default="first",
        help="shapes, colours and words: first, new (nothing in common with first), or a JSON file (first)",
    )
    shapes.add_argument(
        "--workers", type=int, metavar="N", help="processes; any number writes the same files (one a core)"
    )
    shapes.add_argument("--force", action="store_true", help="write into a folder that isn't empty")


def run(args: argparse.Namespace) -> None:
    """Write the data set and print what is in it."""
    from mustela.data.parallel import cores
    from mustela.data.shapes import write_shapes

    start = time.perf_counter()
    written = write_shapes(
        args.out,
        train=args.train,
        val=args.val,
        seed=args.seed,
        world=args.world,
        workers=args.workers if args.workers is not None else cores(),
        force=args.force,
    )
    if written.fresh:
        print(f"Wrote {args.train + args.val} pictures in {time.perf_counter() - start:.0f} s:")
    else:
        print("This data set is there already (--force writes it again):")
    width = max(len(str(written.folder / file.name)) for file in written.files)
    for file in written.files:
        counts = f"{file.pictures:7} pictures {file.records:7} records {file.questions:7} questions"
        print(f"  {written.folder / file.name!s:{width}} {counts}")
    print(f"The pictures are in {written.folder / 'images'}. To train on them:")
    print(f"  {_next_command(written.folder, world=args.world)}")


def _next_command(folder: Path, *, world: str) -> str:
    if folder.as_posix() == "data/shapes" and world == "first":
        return "mustela train shapes-tiny"
    data, images = str(folder / "train.json"), str(folder / "images")
    return f"mustela train RECIPE.yaml --data_path {shlex.quote(data)} --image_folder {shlex.quote(images)}"
