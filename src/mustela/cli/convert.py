"""`mustela convert`: take over checkpoints of Ferret and LLaVA."""

from __future__ import annotations

import argparse
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.cli.sizes import DTYPES, byte_count

__all__ = ["add_parser", "run"]

_FERRET = """\
Make a mustela folder of a Ferret folder.

  mustela convert ml-ferret FERRET OUT                             whole weights
  mustela convert ml-ferret DELTA OUT --base VICUNA --delta        differences to a language model
  mustela convert ml-ferret LORA OUT --base VICUNA                 a LoRA adapter, merged

The vision tower is read from FERRET/vision_tower, or from --vision_tower.
"""
_LLAVA = """\
Make a mustela folder of a LLaVA 1.5 folder, in the authors' or in transformers' layout, with a fresh region
encoder: ready to be trained on regions with `mustela train --model_name_or_path OUT`.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela convert`."""
    parser = add_command(subparsers, "convert", summary="take over a Ferret or LLaVA checkpoint", run=run)
    kinds = parser.add_subparsers(title="kinds", dest="kind", metavar="KIND", required=True)
    ferret = add_command(kinds, "ml-ferret", summary="a Ferret folder", run=run, description=_FERRET)
    llava = add_command(kinds, "llava", summary="a LLaVA 1.5 folder", run=run, description=_LLAVA)
    for each in (ferret, llava):
        _add_arguments(each)
    ferret.add_argument(
        "--sampler_pooler_mode", choices=("max", "mean"), help="where the folder doesn't say it"
    )
    llava.add_argument(
        "--region_encoder",
        choices=("geo", "mean", "roi", "mask_embed"),
        default="geo",
        help="made afresh (geo)",
    )
    llava.add_argument("--seed", type=int, default=0, help="of the fresh region encoder (0)")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SRC", help="the original's folder")
    parser.add_argument("folder", type=Path, metavar="DST", help="the new folder")
    parser.add_argument("--base", type=Path, metavar="DIR", help="language model of a delta or an adapter")
    parser.add_argument("--delta", action="store_true", help="SRC holds differences to --base")
    parser.add_argument("--vision_tower", type=Path, metavar="DIR", help="vision tower, where SRC has none")
    parser.add_argument("--version", metavar="NAME", help="template (that of the original's training)")
    parser.add_argument(
        "--image_aspect_ratio", choices=("square_nocrop", "pad"), help="how pictures are fitted"
    )
    parser.add_argument(
        "--lora", choices=("merge", "adapter"), default="merge",
        help="merge an adapter, or write it into DST/adapter for PEFT (merge)",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=("auto", *DTYPES), default="auto", help="of the weights (auto)")
    parser.add_argument(
        "--max_shard_size", type=byte_count, default=byte_count("5GB"), metavar="SIZE", help="of a file (5GB)"
    )
    for flag, what in (
        ("--allow_unread", "of SRC that may be left out"),
        ("--allow_missing", "of the new model that may be made afresh"),
    ):
        parser.add_argument(flag, nargs="+", default=[], metavar="NAME", help=f"names, * allowed, {what}")


def run(args: argparse.Namespace) -> None:
    """Convert and print the report."""
    import torch

    from mustela.convert import ConversionOptions, convert_ferret, convert_llava
    from mustela.model.settings import RegionSettings

    options = ConversionOptions(
        base=args.base,
        delta=args.delta,
        vision_tower=args.vision_tower,
        version=args.version,
        image_aspect_ratio=args.image_aspect_ratio,
        pooling=args.sampler_pooler_mode if args.kind == "ml-ferret" else None,
        lora=args.lora,
        dtype=None if args.dtype == "auto" else torch.__dict__[args.dtype],
        allow_unread=tuple(args.allow_unread),
        allow_missing=tuple(args.allow_missing),
        shard_bytes=args.max_shard_size,
        seed=args.seed if args.kind == "llava" else 0,
    )
    if args.kind == "ml-ferret":
        done = convert_ferret(args.source, args.folder, options)
    else:
        regions = RegionSettings(encoder=args.region_encoder)
        done = convert_llava(args.source, args.folder, options, regions=regions)
    print(done.text())
