"""Reading a JSON array or JSON lines one value at a time, in bounded memory and always as UTF-8.

Which of the two a file is shows in its first character, never in its name: `[` opens an array, anything else
is one JSON value a line. A byte-order mark, CRLF line ends and blank lines are fine.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mustela.errors import RecordError

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
# Where a value is cut off, the parser stops at most this far before the end of the text, strings apart.
_CUT_OFF = 16


@dataclass(frozen=True, slots=True)
class JsonItem:
    """One value of a file; `fault` says why there is none.

    `line` is the line of the file that it starts on, counted from 1. After a fault with `last` set nothing
    that follows in the file can be read.
    """

    line: int
    value: object = None
    fault: str | None = None
    last: bool = False


def stream_json(path: str | Path, *, chunk_size: int = _CHUNK) -> Iterator[JsonItem]:
    """Yield the values of a JSON array or of JSON lines.

    Memory is bounded by the largest value plus `chunk_size` bytes. Faults are yielded, so that all can be
    listed; broken lines leave the lines after them readable, a broken array ends there.

    Raises:
        RecordError: the file can't be opened or read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                yield JsonItem(1, fault="the file is UTF-16; save it as UTF-8", last=True)
                return
            file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
            body = file.tell()
            first = _first_character(file)
            file.seek(body)
            yield from _array(file, chunk_size) if first == b"[" else _lines(file)
    except OSError as error:
        raise RecordError(f"{path}: can't read the data file: {error.strerror or error}.") from error


def _first_character(file: BinaryIO) -> bytes:
    while block := file.read(4096):
        stripped = block.lstrip(b" \t\r\n")
        if stripped:
            return stripped[:1]
    return b""


def _lines(file: BinaryIO) -> Iterator[JsonItem]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8").strip(" \t\r\n")
            if text:
                yield JsonItem(number, json.loads(text))
        except UnicodeDecodeError as error:
            yield JsonItem(number, fault=_encoding_fault(error))
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at column {error.colno}"
            if number == 1 and text in ("{", "{}"):
                reason += " (a data file is a JSON array of records, or one record a line)"
            yield JsonItem(number, fault=reason)
        except RecursionError:
            yield JsonItem(number, fault="nested too deeply")


def stream_members(path: str | Path, *, chunk_size: int = _CHUNK) -> Iterator[tuple[str, JsonItem]]:
    """Yield the members of one JSON object as (key, value), a list in it one entry at a time.

    Memory is bounded by the largest entry plus `chunk_size` bytes. An empty list yields nothing.

    Raises:
        RecordError: the file can't be read, or isn't one JSON object; names the line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(3)
            file.seek(len(codecs.BOM_UTF8) if start == codecs.BOM_UTF8 else 0)
            yield from _members(_Text(file, chunk_size), path)
    except OSError as error:
        raise RecordError(f"{path}: can't read the data file: {error.strerror or error}.") from error


def _members(text: _Text, path: Path) -> Iterator[tuple[str, JsonItem]]:
    _expect(text, "{", path)
    if text.peek() == "}":
        return
    while True:
        key = _value(text, path)
        _expect(text, ":", path)
        if text.peek() == "[":
            for item in _entries(text):
                if item.fault is not None:
                    raise RecordError(f"{path}:{item.line}: {item.fault}.")
                yield str(key), item
        else:
            line = text.line
            yield str(key), JsonItem(line, _value(text, path))
        text.skip_space()
        if text.peek() == "}":
            return
        _expect(text, ",", path)


def _expect(text: _Text, character: str, path: Path) -> None:
    text.skip_space()
    found = text.peek()
    if found != character:
        shown = repr(found) if found else "the end of the file"
        raise RecordError(f"{path}:{text.line}: expected {character!r}, found {shown}. Repair the file.")
    text.advance(1)
    text.skip_space()


def _value(text: _Text, path: Path) -> object:
    try:
        return text.read_value()
    except json.JSONDecodeError as error:
        fault = text.fault or f"{error.msg} at line {text.line_of(error.pos)}, column {error.colno}"
        raise RecordError(f"{path}: {fault}. Repair the file.") from error
    except RecursionError as error:
        raise RecordError(f"{path}:{text.line}: nested too deeply.") from error


def _array(file: BinaryIO, chunk_size: int) -> Iterator[JsonItem]:
    text = _Text(file, chunk_size)
    text.skip_space()
    ended = False
    for item in _entries(text):
        yield item
        ended = item.last
    if ended:
        return
    text.skip_space()
    if text.peek():
        yield JsonItem(text.line, fault="text after the closing ']' of the array", last=True)


def _entries(text: _Text) -> Iterator[JsonItem]:
    """Yield the entries of the array that begins here, and step over its end."""
    text.advance(1)  # the opening bracket
    text.skip_space()
    if text.peek() == "]":
        text.advance(1)
    else:
        while True:
            line = text.line
            try:
                value = text.read_value()
            except json.JSONDecodeError as error:
                fault = text.fault or f"{error.msg} at line {text.line_of(error.pos)}, column {error.colno}"
                yield JsonItem(line, fault=fault, last=True)
                return
            except RecursionError:
                yield JsonItem(line, fault="nested too deeply", last=True)
                return
            yield JsonItem(line, value)
            text.skip_space()
            separator = text.peek()
            text.advance(1)
            if separator == "]":
                break
            if separator != ",":
                found = repr(separator) if separator else "the end of the file"
                fault = text.fault or f"expected ',' or ']' after a record, found {found}"
                yield JsonItem(text.line, fault=fault, last=True)
                return
            text.skip_space()


class _Text:
    """A window on a file's text that grows as far as one value needs and forgets what was read."""

    def __init__(self, file: BinaryIO, chunk_size: int) -> None:
        self._file = file
        self._chunk_size = chunk_size
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._buffer = ""
        self._position = 0
        self._ended = False
        self._scan = json.JSONDecoder().raw_decode
        self.line = 1
        self.fault: str | None = None

    def read_value(self) -> object:
        """Return the value at the position and step over it."""
        while True:
            try:
                value, end = self._scan(self._buffer, self._position)
            except json.JSONDecodeError as error:
                cut_off = error.pos >= len(self._buffer) - _CUT_OFF or error.msg.startswith(
                    "Unterminated string"
                )
                # Doubling keeps the time for one huge value linear.
                if not cut_off or not self._grow(max(self._chunk_size, len(self._buffer) - self._position)):
                    raise
            else:
                # A number at the very end may go on in the next chunk; records end in a brace.
                if end == len(self._buffer) and self._grow(self._chunk_size):
                    continue
                self.advance(end - self._position)
                return value

    def skip_space(self) -> None:
        """Step over blanks."""
        while True:
            space = _SPACE.match(self._buffer, self._position)
            end = space.end() if space else self._position
            self.advance(end - self._position)
            if end < len(self._buffer) or not self._grow(self._chunk_size):
                return

    def peek(self) -> str:
        """Return the next character, an empty string at the end."""
        return self._buffer[self._position : self._position + 1]

    def advance(self, count: int) -> None:
        """Step over some characters of the window."""
        end = min(self._position + count, len(self._buffer))
        self.line += self._buffer.count("\n", self._position, end)
        self._position = end

    def line_of(self, position: int) -> int:
        """Return the line of the file at a position of the window, such as that of a JSONDecodeError."""
        return self.line + self._buffer.count("\n", self._position, position)

    def _grow(self, size: int) -> bool:
        """Read on; False at the end of the file, or where it is not UTF-8 (which sets `fault`)."""
        if self._ended:
            return False
        data = self._file.read(size)
        try:
            self._buffer = self._buffer[self._position :] + self._decode(data, not data)
            self._position = 0
        except UnicodeDecodeError as error:
            self.fault = _encoding_fault(error)
            self._ended = True
            return False
        self._ended = not data
        return bool(data)


def _encoding_fault(error: UnicodeDecodeError) -> str:
    return f"not UTF-8 text: byte 0x{error.object[error.start]:02x} ({error.reason}); save the file as UTF-8"
