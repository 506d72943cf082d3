"""`mustela data`: make data sets."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela data`."""
    add_command(subparsers, "data", summary="make data sets", run=run)


def run(args: argparse.Namespace) -> None:
    """Not there yet."""
    del args
    raise ConfigError("mustela data is not there yet")
