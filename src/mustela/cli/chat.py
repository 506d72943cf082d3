"""`mustela chat`: talk with a model about an image in the terminal."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.ask import print_regions
from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_model_options, check_counts, model_options
from mustela.cli.region_options import region_of
from mustela.cli.terminal_picture import picture_codes, picture_protocol
from mustela.errors import ConfigError, MustelaError, RegionError

if TYPE_CHECKING:
    from PIL import Image

    from mustela.infer import Exchange, Predictor
    from mustela.regions import Region

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Talk with a model about an image, in several turns.

  mustela chat shapes-base scene.jpg

In a question #1, #2 ... stand for regions. Regions come from the commands below and from answers; the
picture with them is shown in terminals that can (kitty, Ghostty, iTerm2, WezTerm), otherwise saved.
"""
_HELP = """\
  /point X Y   /box X1 Y1 X2 Y2   /scribble X1 Y1 X2 Y2 ...   /polygon X1 Y1 ...   /mask FILE
               a further region, in pixels of the picture; #1, #2 ... in questions stand for them
  /regions     list them              /show        show the picture with all of them
  /image FILE  another picture        /new         forget the conversation and the regions
  /help        this list              /quit        leave (also Ctrl D)"""
_NUMBERS = re.compile(r"#(\d+)\b")
_KINDS = {"point": 2, "box": 4, "scribble": None, "polygon": None, "mask": 1}


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela chat`."""
    parser = add_command(
        subparsers,
        "chat",
        summary="talk with a model about an image in the terminal",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument(
        "--out", metavar="FILE", help="where the picture is saved (default: chat-IMAGE.png in this folder)"
    )
    add_model_options(parser)
    parser.add_argument(
        "--max_new_tokens", type=int, default=256, metavar="N", help="longest answer in tokens (default: 256)"
    )


def run(args: argparse.Namespace) -> None:
    """Talk until the end of the input."""
    from transformers.utils.logging import disable_progress_bar

    from mustela.infer import Predictor

    check_counts(args, "max_new_tokens")
    disable_progress_bar()
    out = None if args.out is None else Path(args.out)
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist.")
    predictor = Predictor.from_pretrained(args.model, **model_options(args))
    chat = _Chat(predictor, args.image, out=out, max_new_tokens=args.max_new_tokens)
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A line that isn't in the terminal's encoding gets a message, and the conversation goes on.
        sys.stdin.reconfigure(errors="surrogateescape")
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401 - gives `input` its history and arrow keys

        print(f"{args.image}, {chat.size}. Ask, or /help.")
    while True:
        try:
            line = input("> " if interactive else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        if line in ("/quit", "/exit"):
            return
        try:
            chat.take(line)
        except MustelaError as error:
            print(f"{error}")
        except KeyboardInterrupt:
            print("given up")


class _Chat:
    """A conversation about one picture at a time."""

    def __init__(self, predictor: Predictor, image: str, *, out: Path | None, max_new_tokens: int) -> None:
        self._predictor = predictor
        self._out_option = out
        self._max_new_tokens = max_new_tokens
        self._protocol = picture_protocol(os.environ, is_terminal=sys.stdout.isatty())
        self._open(image)

    def _open(self, image: str) -> None:
        from mustela.regions import load_image

        self._image: Image.Image = load_image(image)
        self._predictor.set_image(self._image)
        self._out = self._out_option or Path(f"chat-{Path(image).stem}.png")
        self._forget()

    def _forget(self) -> None:
        self._regions: list[Region] = []
        self._names: list[str] = []
        self._history: list[Exchange] = []

    @property
    def size(self) -> str:
        """The size of the picture in words."""
        return f"{self._image.width} x {self._image.height} pixels"

    def take(self, line: str) -> None:
        """Do what a line says: a command, or a question."""
        if line.startswith("/"):
            self._command(line[1:])
        elif line:
            self._ask(line)

    def _command(self, line: str) -> None:
        try:
            name, *words = shlex.split(line) or [""]
        except ValueError as error:
            raise ConfigError(f"/{line}: {error}.") from error
        if name in _KINDS:
            self._add(_region(name, words), name)
            print(f"#{len(self._regions)}: {name}")
        elif name == "image" and len(words) == 1:
            self._open(words[0])
            print(f"{words[0]}, {self.size}")
        elif words or name not in ("regions", "show", "new", "help"):
            raise ConfigError(f"/{line} is no command; /help lists them.")
        elif name == "help":
            print(_HELP)
        elif name == "new":
            self._forget()
        elif name == "show":
            self._show()
        else:
            for number, (region, what) in enumerate(zip(self._regions, self._names, strict=True), start=1):
                bounds = ", ".join(f"{value:.1f}" for value in region.bounds_xyxy())
                print(f"  #{number} {what}: {bounds}")

    def _add(self, region: Region, name: str) -> None:
        # Found out now, not when it is asked about: a region outside, a mask of another size.
        region.anchor(self._image.size)
        self._regions.append(region)
        self._names.append(name)

    def _ask(self, line: str) -> None:
        text, regions = numbered(line, self._regions)
        answer = self._predictor.ask(
            text, regions=regions, history=self._history, max_new_tokens=self._max_new_tokens
        )
        self._history.append(answer.exchange)
        print(answer.text)
        print_regions(answer.regions, first=len(self._regions) + 1)
        for found in answer.regions:
            self._regions.append(found.region)
            self._names.append(found.phrase.strip() or "answer")
        if regions or answer.regions:
            self._show()

    def _show(self) -> None:
        from mustela.regions import draw_regions

        labels = [f"#{number}" for number in range(1, len(self._regions) + 1)]
        drawn = draw_regions(self._image, self._regions, labels=labels)
        if self._protocol is not None:
            print(picture_codes(drawn, self._protocol))
            return
        try:
            drawn.save(self._out)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--out {self._out}: the picture can't be written ({error}).") from error
        print(f"picture: {self._out}")


def numbered(line: str, known: Sequence[Region]) -> tuple[str, tuple[Region, ...]]:
    """Return a question with placeholders in the place of #1, #2 ..., and the regions for them.

    Raises:
        RegionError: there is no region of a number.
    """
    wanted = [int(match[1]) for match in _NUMBERS.finditer(line)]
    for number in wanted:
        if not 1 <= number <= len(known):
            have = f"#1 to #{len(known)}" if known else "none yet; /help says how to make one"
            raise RegionError(f"there is no region #{number}: there are {have}.")
    # What was typed as a placeholder is text here.
    plain = line.replace("<region", "< region")
    return _NUMBERS.sub("<region>", plain), tuple(known[number - 1] for number in wanted)


def _region(kind: str, words: Sequence[str]) -> Region:
    count = _KINDS[kind]
    if not words or (count is not None and len(words) != count):
        raise RegionError(f"/{kind} takes {count or 'x y pairs: several'} values; /help shows them.")
    if kind == "mask":
        return region_of(kind, words[0])
    values: list[Any] = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError:
            raise RegionError(f"/{kind}: {word!r} is no number.") from None
    return region_of(kind, values)
