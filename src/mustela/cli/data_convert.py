"""`mustela data convert`: make records of annotated pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

if TYPE_CHECKING:
    from mustela.data.convert import Converted

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Make records for training of annotated pictures in any usual format.

  mustela data convert --annotations instances.json --images images --task refer,ground --out train.json
  mustela data convert --from voc --annotations voc --split train --images images --task detect --out x.jsonl

What the format is shows in the files, and the command says why; --from names it instead: coco (also LVIS
and Objects365), voc, yolo, labelme, cvat, label_studio, refcoco, visual_genome, flickr30k, grit, table
(Parquet and Hugging Face data sets), webdataset; conversations: ferret, llava, osprey, shikra, swift, chat.

Tasks: refer (a region, what is it?), attributes, relation, ground (a name, where is it?), detect
(everything), presence (is there a ...?), caption, dense_refer and dense_detect (all objects in one question).
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data convert`."""
    parser = add_command(
        subparsers,
        "convert",
        summary="make records of annotated pictures (COCO, VOC, YOLO ...)",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("--annotations", required=True, metavar="PATH", help="file or folder to read")
    parser.add_argument("--out", required=True, metavar="FILE", help="record file to write, .json or .jsonl")
    parser.add_argument("--from", dest="format", default="auto", metavar="FORMAT", help="its format (auto)")
    parser.add_argument(
        "--images",
        "--image_folder",
        metavar="DIR",
        help="folder of the pictures; without: not looked at",
    )
    parser.add_argument("--split", metavar="NAME", help="part to read, for formats with splits (all)")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="WHAT=COLUMN", help="columns of a table: image=photo ..."
    )
    parser.add_argument("--box_format", help="boxes of a table: xyxy, xywh, norm1 or norm1000")
    parser.add_argument("--size_policy", default="error", help="other sizes of files: error or scale")
    asking = parser.add_argument_group("what is asked")
    asking.add_argument("--task", default="refer,ground", help="with commas between them (refer,ground)")
    asking.add_argument(
        "--language", default="en", metavar="NAME", help="en, zh, or your own file of phrasings (en)"
    )
    asking.add_argument(
        "--names", nargs="+", default=[], metavar="NAME=WORDS", help='words for names: WBC="white blood cell"'
    )
    asking.add_argument("--max_rounds", type=int, default=6, metavar="N", help="questions a record (6)")
    asking.add_argument("--max_boxes", type=int, default=20, metavar="N", help="boxes an answer (20)")
    asking.add_argument("--order", default="raster", help="of boxes: raster, size or given (raster)")
    asking.add_argument(
        "--min_side", type=float, default=0, metavar="PX", help="leave out smaller objects (0)"
    )
    asking.add_argument(
        "--balance", type=float, default=0, metavar="SHARE", help="1: no name more often than the median (0)"
    )
    asking.add_argument(
        "--absent_share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="questions about what isn't there (0.2)",
    )
    asking.add_argument("--seed", type=int, default=0, help="another seed asks otherwise (0)")


def run(args: argparse.Namespace) -> None:
    """Convert, and print what was read, written and left out."""
    from mustela.data.check import CheckOptions
    from mustela.data.convert import Conversion, convert_file
    from mustela.data.formats import Source, get_format, recognise
    from mustela.data.tasks.options import TaskOptions
    from mustela.data.tasks.phrasings import load_phrasings

    out = Path(args.out)
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist.")
    if args.format == "auto":
        recognised = recognise(args.annotations)
        print(recognised.because)
        chosen = recognised.format
    else:
        chosen = get_format(args.format)
    converted = convert_file(
        Conversion(
            chosen,
            Source(
                Path(args.annotations),
                Path(args.images) if args.images else None,
                args.split,
                _pairs("--columns", args.columns),
                args.box_format,
            ),
            load_phrasings(args.language),
            TaskOptions(
                tasks=tuple(task.strip() for task in args.task.split(",")),
                max_rounds=args.max_rounds,
                max_boxes=args.max_boxes,
                order=args.order,
                min_side=args.min_side,
                balance=args.balance,
                absent_share=args.absent_share,
                seed=args.seed,
            ),
            _pairs("--names", args.names),
            CheckOptions(size_policy=args.size_policy),
        ),
        out,
    )
    _print(converted, out, args.images)


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not (name and sign and value):
            raise ConfigError(f"{option} {word}: write NAME=VALUE.")
        pairs[name] = value
    return pairs


def _print(converted: Converted, out: Path, images: str | None) -> None:
    from mustela.data.report import DataReport

    print(DataReport([converted.report]).summary(max_lines=10))
    names = converted.census.objects.most_common(12)
    if names:
        print("objects: " + ", ".join(f"{name} {count}" for name, count in names))
    print(f"{out}: {converted.records} records written")
    folder = converted.pictures or images
    shown = f" --images {folder}" if folder else ""
    print(f"Look at them: mustela data view {out}{shown}")
