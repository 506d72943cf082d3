"""Cutting an answer into brackets, numbers and words, in time linear in its length."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a token is to the search for coordinates."""

    OPEN = auto()
    CLOSE = auto()
    NUMBER = auto()
    COMMA = auto()
    KEY = auto()
    LABEL = auto()
    WORD = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token with its place in the text; `value` is a number's value, `text` the token as written."""

    kind: Kind
    start: int
    end: int
    text: str
    value: float = math.nan


OPENERS = {"[": "]", "(": ")", "{": "}", "\uff08": "\uff09", "\u3010": "\u3011", "\uff3b": "\uff3d"}

# Every alternative either fails on its first character or never gives back what it took, so there is no text
# on which matching costs more than its length; the counted repeats bound the rest.
_TOKEN = re.compile(
    r"""
      (?P<open_tag><\|?(?:box|bbox|point|quad|loc)(?:_start)?\|?>)
    | (?P<close_tag><(?:/(?:box|bbox|point|quad|loc)|\|(?:box|bbox|point|quad|loc)_end\|)>)
    | (?P<tag><[/|]{0,2}[A-Za-z_]{1,24}[/|]{0,2}>)
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<word>\w+)
    | (?P<open>[\[({\uff08\u3010\uff3b])
    | (?P<close>[\])}\uff09\u3011\uff3d])
    | (?P<comma>[,;\uff0c\u3001\uff1b])
    | (?P<skip>[\s"'`*_$\\]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_LABEL_KEYS = frozenset(
    {"label", "name", "phrase", "text_content", "class", "category", "object", "ref", "desc"}
)
_LABEL_VALUE = re.compile(
    r"""["']?[ \t\n]{0,9}[:=][ \t\n]{0,9}(?:"((?:[^"\\]|\\.){0,200})"|'((?:[^'\\]|\\.){0,200})')""", re.DOTALL
)
_KEY_END = re.compile(r"""["']?[ \t\n]{0,9}[:=]""")
_NOT_FINITE = frozenset({"nan", "inf", "infinity"})
_UNITS = frozenset({"px", "pixel", "pixels"})


def tokenise(text: str) -> Iterator[Token]:
    """Yield the tokens of a text in order; blanks, quotes and markup are left out."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # can't happen: the last alternative takes any character
            return
        start, position = position, match.end()
        token = _token(match, text, start, position)
        if token is not None:
            position = token.end
            yield token


def _token(match: re.Match[str], text: str, start: int, end: int) -> Token | None:
    group, written = match.lastgroup, match.group()
    if group in ("skip", "tag"):
        return None
    if group == "number":
        return Token(Kind.NUMBER, start, end, written, _float(written))
    if group == "word":
        return _word(written, text, start, end)
    kind = {
        "open": Kind.OPEN,
        "open_tag": Kind.OPEN,
        "close": Kind.CLOSE,
        "close_tag": Kind.CLOSE,
        "comma": Kind.COMMA,
    }.get(group or "", Kind.WORD)
    return Token(kind, start, end, written)


def _word(written: str, text: str, start: int, end: int) -> Token | None:
    lower = written[:16].lower()
    if lower in _UNITS:
        return None
    if lower in _NOT_FINITE:
        return Token(Kind.NUMBER, start, end, written)
    if lower in _LABEL_KEYS:
        value = _LABEL_VALUE.match(text, end)
        if value is not None:
            return Token(Kind.LABEL, start, value.end(), _unescaped(value.group(1) or value.group(2) or ""))
    key = _KEY_END.match(text, end)
    if key is not None:
        return Token(Kind.KEY, start, key.end(), lower)
    return Token(Kind.WORD, start, end, written)


def _unescaped(value: str) -> str:
    """Return a string of JSON, or of Python in single quotes, as meant; as written where it is neither."""
    if "\\" not in value:
        return value
    try:
        meant = str(json.loads('"' + value.replace("\\'", "'") + '"', strict=False))
        meant.encode()  # half a surrogate pair can't be written anywhere
    except ValueError:
        return value
    return meant


def _float(written: str) -> float:
    # Beyond any meaning, and a long string of digits would cost quadratic time to convert.
    return float(written) if len(written) <= 40 else math.inf
