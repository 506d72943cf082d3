"""`mustela export`: write a model's folder for others."""

from __future__ import annotations

import argparse
from pathlib import Path

from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_base_options
from mustela.cli.sizes import DTYPES, byte_count

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Write a plain folder of a model, with a model card made of the run's data report, settings and metrics.

  mustela export runs/mine OUT --dtype bfloat16 --license apache-2.0
  mustela export runs/mine OUT --only region_encoder
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela export`."""
    parser = add_command(
        subparsers, "export", summary="write a model's folder for others", run=run, description=_DESCRIPTION
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a model, an adapter or a run, or a packaged model"
    )
    parser.add_argument("folder", type=Path, metavar="DST", help="the new folder")
    parser.add_argument("--dtype", choices=("auto", *DTYPES), default="auto", help="of the weights (auto)")
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="an adapter to merge, such as PEFT's")
    add_base_options(parser)
    parser.add_argument(
        "--only", choices=("projector", "region_encoder"), help="this part alone, as one safetensors file"
    )
    parser.add_argument(
        "--max_shard_size", type=byte_count, default=byte_count("5GB"), metavar="SIZE", help="of a file (5GB)"
    )
    card = parser.add_argument_group("model card")
    card.add_argument("--title", help="heading (the folder's name)")
    card.add_argument("--license", metavar="ID", help="of the weights, such as apache-2.0")
    card.add_argument("--base_model", metavar="NAME", help="what it was trained from")
    card.add_argument("--base_license", metavar="ID", help="of that model")
    card.add_argument("--data_license", metavar="ID", help="of the training data")


def run(args: argparse.Namespace) -> None:
    """Export and say where."""
    import torch

    from mustela.convert import CardFields, export_model

    folder = export_model(
        args.model,
        args.folder,
        dtype=None if args.dtype == "auto" else torch.__dict__[args.dtype],
        adapter=args.adapter,
        base=args.base,
        base_vision_tower=args.base_vision_tower,
        only=args.only,
        fields=CardFields(
            title=args.title,
            license=args.license,
            base_model=args.base_model,
            base_license=args.base_license,
            data_license=args.data_license,
        ),
        shard_bytes=args.max_shard_size,
    )
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {', '.join(files)}")
    missing = [name for name in ("license", "base_license", "data_license") if args.__dict__[name] is None]
    if missing:
        print(f"The model card says 'not stated' for: {', '.join(missing)}.")
