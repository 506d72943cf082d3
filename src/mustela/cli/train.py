"""`mustela train`: train a model from a YAML file or a preset."""

from __future__ import annotations

import argparse

from mustela.cli.command import Subparsers, add_command
from mustela.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela train`."""
    add_command(
        subparsers, "train", summary="train a model from a YAML file or a preset", run=run, pass_through=True
    )


def run(args: argparse.Namespace) -> None:
    """Not there yet."""
    del args
    raise ConfigError("mustela train is not there yet")
