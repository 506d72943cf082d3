"""Pictures in terminals that can show them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["picture_codes", "picture_protocol"]

Protocol = Literal["kitty", "iterm"]

_ITERM = ("iTerm.app", "WezTerm", "mintty", "vscode")
_KITTY = ("ghostty",)
_LARGEST_WH = (800, 600)
_KITTY_CHUNK = 4096


def picture_protocol(environ: Mapping[str, str], *, is_terminal: bool) -> Protocol | None:
    """Return how a terminal is shown pictures, from its environment; None: it can't be, or nobody knows.

    Inside tmux and screen pictures don't arrive.
    """
    if not is_terminal or environ.get("TMUX") or environ.get("TERM", "").startswith("screen"):
        return None
    program = environ.get("TERM_PROGRAM", "")
    if environ.get("KITTY_WINDOW_ID") or environ.get("TERM") == "xterm-kitty" or program in _KITTY:
        return "kitty"
    if program in _ITERM or environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return None


def picture_codes(image: Image.Image, protocol: Protocol) -> str:
    """Return what shows a picture when it is printed; large ones are made smaller."""
    shown = image.copy()
    shown.thumbnail(_LARGEST_WH)
    buffer = io.BytesIO()
    shown.save(buffer, "png")
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    if protocol == "iterm":
        return f"\033]1337;File=inline=1;size={buffer.tell()}:{content}\a"
    chunks = [content[start : start + _KITTY_CHUNK] for start in range(0, len(content), _KITTY_CHUNK)]
    codes = []
    for number, chunk in enumerate(chunks):
        head = "a=T,f=100," if number == 0 else ""
        more = int(number < len(chunks) - 1)
        codes.append(f"\033_G{head}m={more};{chunk}\033\\")
    return "".join(codes)
