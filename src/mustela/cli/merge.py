"""`mustela merge`: an adapter and its base as one model."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_base_options

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Merge an adapter into the base that it was trained on and write a whole model, which needs neither.

  mustela merge runs/mine merged/mine

ADAPTER is an adapter's folder or a run's. The base is read in full precision, also where the adapter was
trained on a quantised one. What the adapter didn't touch stays the same to the bit.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela merge`."""
    parser = add_command(
        subparsers,
        "merge",
        summary="make an adapter and its base one model",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("adapter", metavar="ADAPTER")
    parser.add_argument("out", metavar="OUT", help="folder to write; must be new or empty")
    add_base_options(parser)
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="numbers of the model (default: auto, those of the base)",
    )


def run(args: argparse.Namespace) -> None:
    """Merge and say where the model is."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from mustela.model.merging import merge_adapter

    disable_progress_bar()
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    out = merge_adapter(
        args.adapter,
        args.out,
        base=args.base,
        base_vision_tower=args.base_vision_tower,
        dtype=dtypes.get(args.dtype, "auto"),
    )
    print(f"The model is in {out}.")
