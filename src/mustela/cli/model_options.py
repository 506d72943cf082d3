"""The options of commands that load a model."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_base_options", "add_model_options", "model_options"]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a model goes, how it is stored, and where its base lies."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: an accelerator if there is one)")
    parser.add_argument(
        "--bits",
        type=int,
        choices=(4, 8),
        help="store the language model in so many bits (default: in full; needs the quantization extra)",
    )
    add_base_options(parser)


def add_base_options(parser: argparse.ArgumentParser) -> None:
    """Declare where an adapter's base lies."""
    parser.add_argument(
        "--base", metavar="DIR", help="the base of an adapter, if no longer where it was in training"
    )
    parser.add_argument(
        "--base_vision_tower",
        metavar="DIR",
        help="the same for the vision tower, of an adapter on a language model and a vision tower",
    )


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `load_model` that the options say."""
    from mustela.model.loading import quantisation_for

    return {
        "device": args.device,
        "base": args.base,
        "base_vision_tower": args.base_vision_tower,
        "quantisation": quantisation_for(args.model, args.bits),
    }
