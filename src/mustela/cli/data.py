"""`mustela data`: make data sets, convert them, and look at them before training."""

from __future__ import annotations

import argparse

from mustela.cli import data_check, data_convert, data_shapes, data_stats, data_tokens, data_view
from mustela.cli.command import Subparsers, add_command

__all__ = ["add_parser", "run"]

COMMANDS = (data_convert, data_check, data_view, data_tokens, data_stats, data_shapes)


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data` and its commands."""
    parser = add_command(
        subparsers, "data", summary="make data sets, convert them, look at them before training", run=run
    )
    kinds = parser.add_subparsers(title="commands", dest="data_command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(kinds)


def run(args: argparse.Namespace) -> int | None:
    """Never called: a command of `mustela data` is required, and runs itself."""
    raise NotImplementedError(args.data_command)
