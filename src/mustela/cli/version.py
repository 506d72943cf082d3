"""`mustela version`: what is installed, for a bug report."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from typing import Final

import mustela
from mustela.cli.command import Subparsers, add_command

__all__ = ["add_parser", "run"]

PACKAGES: Final = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "numpy", "pillow")


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela version`."""
    add_command(
        subparsers, "version", summary="show the versions of mustela and of what it stands on", run=run
    )


def run(args: argparse.Namespace) -> None:
    """Print one line a package; reads only the installed packages' metadata."""
    del args
    print(f"mustela {mustela.__version__}")
    print(f"python {platform.python_version()} ({platform.platform()})")
    for package in PACKAGES:
        try:
            print(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package} is not installed")
