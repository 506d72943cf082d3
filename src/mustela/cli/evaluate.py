"""`mustela evaluate`: measure a model on a data file."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela evaluate`."""
    add_command(subparsers, "evaluate", summary="measure a model on a data file", run=run)


def run(args: argparse.Namespace) -> None:
    """Not there yet."""
    del args
    raise ConfigError("mustela evaluate is not there yet")
