"""The `mustela` command: picks a command, runs it, and turns user errors into one readable message."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Final

import mustela
from mustela.cli import (
    ask,
    bases,
    benchmarks,
    chat,
    compare,
    convert,
    data,
    evaluate,
    export,
    merge,
    robustness,
    score,
    serve,
    train,
    version,
)
from mustela.errors import MustelaError

__all__ = ["build_parser", "main"]

USER_ERROR_STATUS: Final = 2
INTERRUPTED_STATUS: Final = 130
BROKEN_PIPE_STATUS: Final = 141
_SECONDS_FOR_THE_FIRST: Final = 10

# The order is the order of `mustela --help`.
COMMANDS: Final = (
    train,
    evaluate,
    score,
    benchmarks,
    compare,
    robustness,
    ask,
    bases,
    chat,
    serve,
    merge,
    data,
    convert,
    export,
    version,
)


class _WideNames(argparse.HelpFormatter):
    """Keeps the longest command on the line of its summary: argparse forgets the commands' own indent."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        longest = max(len(command.__name__.rpartition(".")[2]) for command in COMMANDS)
        self._action_max_length = max(self._action_max_length, longest + 4)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command; imports no torch."""
    parser = argparse.ArgumentParser(
        prog="mustela",
        description="Train, evaluate and use region-level vision-language models.",
        epilog="`mustela COMMAND --help` tells more about a command.",
        formatter_class=_WideNames,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mustela {mustela.__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="after a user error, show where in the code it was found"
    )
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: the words after `mustela`; those of the process when None.

    Returns:
        0 when the command did its work, 2 after a user error (its message goes to stderr), 130 when
        interrupted, 141 when the reader of the output went away.
    """
    if arguments is None:
        _speak_unicode()
    _survive_narrow_encodings()
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return USER_ERROR_STATUS
    try:
        status = args.run(args)
        sys.stdout.flush()
    except MustelaError as error:
        if args.traceback:
            traceback.print_exc()
        if os.environ.get("RANK", "0") != "0":
            # Of a mistake that all processes find, the first tells, and the launcher ends the others.
            time.sleep(_SECONDS_FOR_THE_FIRST)
        print(f"mustela: error: {error}", file=sys.stderr)
        return USER_ERROR_STATUS
    except KeyboardInterrupt:
        print("mustela: interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    return 0 if status is None else int(status)


def _speak_unicode() -> None:
    """Start this process over in Python's UTF-8 mode where file names are ASCII.

    Recipes and records name files in Unicode, and libraries open them; the names are UTF-8 bytes on disk,
    whatever the locale says. Python does the same by itself under `LC_ALL=C`, unless PYTHONUTF8 forbids it.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() not in ("ascii", "us-ascii", "646"):
        return
    # The terminal keeps its encoding; processes that this one starts are of the mode, too.
    environment = {"PYTHONIOENCODING": sys.stdout.encoding, **os.environ, "PYTHONUTF8": "1"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)


def _survive_narrow_encodings() -> None:
    """Let a character that the terminal can't show come out as an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        unicode_capable = stream.encoding.lower().startswith("utf")
        # UTF-8 with surrogateescape prints file names of any bytes as they are.
        if not (unicode_capable and stream.errors == "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
