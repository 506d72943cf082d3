"""XML files from elsewhere: no document types, hence no entities that grow or that read other files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from mustela.errors import RecordError

_PROLOG = re.compile(rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*", re.DOTALL)
_DECLARED = re.compile(rb"(\s*<\?xml[^>]*?encoding\s*=\s*[\"'])([\w.:-]+)([\"'])")
_PARSED = ("utf-8", "ascii", "iso8859-1")
_HEAD = 1 << 16


def _guarded(path: Path, event: Literal["start", "end"]) -> Iterator[tuple[str, ElementTree.Element]]:
    parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser((event,))
    try:
        with path.open("rb") as file:
            block = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
            declared = _DECLARED.match(block)
            decode = _decoder(path, declared[2].decode("ascii")) if declared else None
            if declared and decode:
                block = declared[1] + b"utf-8" + declared[3] + decode(block[declared.end() :])
            prolog = _PROLOG.match(block)
            if not re.match(rb"<[^!]", block[prolog.end() if prolog else 0 :]):
                raise RecordError(
                    f"{path}: the XML begins with a document type or has no element. Annotation files need no"
                    " document type, and one can name other files; remove it."
                )
            while block:
                parser.feed(block)
                yield from _events(parser)
                block = file.read(_HEAD)
                if decode:
                    block = decode(block)
            parser.close()
            yield from _events(parser)
    except ElementTree.ParseError as error:
        raise RecordError(f"{path}: not XML: {error}. Repair the file.") from error
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path}: not in the encoding that its first line names: {error}. Save it as UTF-8."
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: can't read the data file: {error.strerror or error}.") from error


def _decoder(path: Path, encoding: str) -> Callable[[bytes], bytes] | None:
    """Return what turns blocks of an encoding that the parser lacks into UTF-8, None if it has it."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(encoding)
    except LookupError as error:
        raise RecordError(
            f'{path}: unknown encoding {encoding!r}. Save the file as UTF-8, with encoding="UTF-8".'
        ) from error
    if name in _PARSED or name.startswith("utf-16"):
        return None
    decoder = codecs.getincrementaldecoder(encoding)()
    # GBK characters are cut by blocks; the end of the file is the empty block.
    return lambda block: decoder.decode(block, final=not block).encode()


def _events(parser: ElementTree.XMLPullParser[Any]) -> Iterator[tuple[str, ElementTree.Element]]:
    for found in parser.read_events():
        if len(found) == 2 and isinstance(found[1], ElementTree.Element):
            yield found[0], found[1]


def xml_root(path: Path) -> str:
    """Return the outermost tag."""
    return next(element.tag for _, element in _guarded(path, "start"))


def stream_elements(path: Path, tag: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of a tag one after the other, each forgotten after its turn.

    Raises:
        RecordError: not XML, or with a document type; names the file.
    """
    for _, element in _guarded(path, "end"):
        if element.tag == tag:
            yield element
            element.clear()


def child_text(element: ElementTree.Element, path: str) -> str:
    """Return the text of a child, an empty string if there is none."""
    return (element.findtext(path) or "").strip()


def child_number(element: ElementTree.Element, path: str) -> float | None:
    """Return the number of a child, None if there is none or it isn't one."""
    try:
        return float(child_text(element, path))
    except ValueError:
        return None
