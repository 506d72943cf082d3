"""How a command joins the command line.

A command is a module `mustela.cli.NAME` with two functions:

- `add_parser(subparsers)` calls `add_command` and declares its arguments; it imports nothing heavy, because
  `mustela --help` calls it for every command;
- `run(args)` does the work, imports what it needs inside, and returns an exit status (None means 0).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Subparsers", "add_command"]

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# No argument can contain this character, so a parser that takes it for its option prefix sees no options.
_NO_PREFIX = "\0"


def add_command(
    subparsers: Subparsers,
    name: str,
    *,
    summary: str,
    run: Callable[[argparse.Namespace], int | None],
    description: str | None = None,
    pass_through: bool = False,
) -> argparse.ArgumentParser:
    """Register a command and return its parser.

    Args:
        subparsers: what the parent parser's `add_subparsers` returned.
        name: the word on the command line.
        summary: one line for the list of commands.
        run: called with the parsed arguments; returns an exit status, None for 0.
        description: text at the top of the command's own help; the summary when None.
        pass_through: put every argument after the command's name, `--help` and other flags included,
            untouched into `args.arguments`, for a command that parses its own.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=not pass_through,
        prefix_chars=_NO_PREFIX if pass_through else "-",
    )
    if pass_through:
        parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)
    return parser
