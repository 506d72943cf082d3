"""`mustela ask`: ask a model about an image and its regions."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela ask`."""
    add_command(subparsers, "ask", summary="ask a model about an image and its regions", run=run)


def run(args: argparse.Namespace) -> None:
    """Not there yet."""
    del args
    raise ConfigError("mustela ask is not there yet")
