"""`mustela bases`: the kinds of models that can be given regions."""

from __future__ import annotations

import argparse
import textwrap

from mustela.cli.command import Subparsers, add_command

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
List the kinds of models that can be given regions: where regions are read, how coordinates are written unless
--coordinates says otherwise, and what the tests cover.

  mustela bases
  mustela train --model_name_or_path MODEL --lora_enable --data_path train.json --image_folder images
"""
_WIDTH = 110


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela bases`."""
    add_command(
        subparsers, "bases", summary="list the models that take regions", run=run, description=_DESCRIPTION
    )


def run(_: argparse.Namespace) -> int:
    """Print one entry a kind of model, those that are refused last."""
    from mustela.model.families import FAMILIES, REFUSED
    from mustela.model.plain_family import PLAIN

    for name, family in {**FAMILIES, "(fallback)": PLAIN}.items():
        print(f"{name:18}{family.title}")
        _tell("read from", family.reads)
        _tell("coordinates", family.coordinates)
        _tell("tested with", family.tested)
    print("Not possible:")
    for name, reason in REFUSED.items():
        print(f"{name:18}{reason}")
    return 0


def _tell(what: str, text: str) -> None:
    print(textwrap.fill(f"{what + ':':13}{text}", _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 17))
