"""A first look into files, for telling their format by what they hold; names of files say nothing."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mustela.data.formats.xml_file import xml_root
from mustela.data.json_stream import stream_json, stream_members
from mustela.errors import RecordError

Kind = Literal[
    "empty",
    "json",
    "lines",
    "object",
    "xml",
    "tar",
    "parquet",
    "arrow",
    "pickle",
    "text",
    "folder",
    "unknown",
]

_HEAD = 1 << 16
_FIRST = 5
_FILES = 4
_ENTRIES = 5000
_STOP_AT = frozenset({"images", "annotations"})


@dataclass(frozen=True, slots=True)
class Peek:
    """What one file or folder looks like.

    Attributes:
        kind: "json" is an array, "lines" one value a line, "object" one JSON object.
        values: the first values of an array or of lines; of an object, one mapping of its keys to their
            values, where a list stands for its first entry.
        columns: of a table.
        root: the outermost tag of an XML file.
        text: the beginning of a text file.
        inside: for a folder, the first files of each kind; for a tar, see `names`.
        names: names of files in a folder or a tar.
    """

    kind: Kind
    values: tuple[object, ...] = ()
    columns: tuple[str, ...] = ()
    root: str = ""
    text: str = ""
    inside: Mapping[str, tuple[Peek, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def record(self) -> Mapping[str, Any]:
        """The first value that is an object, or an empty one."""
        return next((value for value in self.values if isinstance(value, Mapping)), {})

    def of(self, *kinds: Kind) -> Sequence[Peek]:
        """Return this look, if it is of one of the kinds, else those of a folder's files that are."""
        if self.kind != "folder":
            return (self,) if self.kind in kinds else ()
        return [peek for kind in kinds for peek in self.inside.get(kind, ())]


def peek(path: str | Path) -> Peek:
    """Look into a file, or into the first files of a folder.

    Raises:
        RecordError: there is none, or it can't be read.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise RecordError(f"{path}: can't read the data file: {error.strerror or error}.") from error
    try:
        return _file(path, head)
    except (pa.ArrowException, tarfile.TarError, OSError) as error:
        raise RecordError(f"{path}: broken or cut off: {error}.") from error


def _file(path: Path, head: bytes) -> Peek:
    if head.startswith(b"PAR1"):
        return Peek("parquet", columns=tuple(pq.read_schema(path).names))
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return Peek("arrow", columns=tuple(arrow_schema(path).names))
    if head[257:262] == b"ustar":
        with tarfile.open(path) as tar:
            return Peek("tar", names=tuple(member.name for member in islice(tar, 20)))
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not body:
        return Peek("empty")
    if body.startswith(b"<"):
        return Peek("xml", root=xml_root(path))
    if body.startswith(b"["):
        items = list(islice(stream_json(path), _FIRST))
        if any(item.fault is None for item in items) or len(body) < 3:
            return Peek("json", tuple(item.value for item in items))
    if body.startswith(b"{"):
        return _object_or_lines(path, body)
    # Protocol 2 and later begin with a mark, protocols 0 and 1 with a list or a dictionary that is kept.
    if head.startswith((b"\x80", b"(lp", b"(dp", b"]q", b"}q")):
        return Peek("pickle")
    try:
        return Peek("text", text=head.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore"))
    except UnicodeDecodeError:
        return Peek("unknown")


def arrow_schema(path: Path) -> pa.Schema:
    """Return the schema of an Arrow file, of the stream or the file kind."""
    with pa.memory_map(str(path)) as file:
        try:
            return pa.ipc.open_file(file).schema
        except pa.ArrowInvalid:
            file.seek(0)
            return pa.ipc.open_stream(file).schema


def _object_or_lines(path: Path, body: bytes) -> Peek:
    first, newline, rest = body.partition(b"\n")
    if newline and rest.strip():
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            pass
        else:
            return Peek("lines", tuple(item.value for item in islice(stream_json(path), _FIRST)))
    members: dict[str, object] = {}
    if len(body) < _HEAD:
        try:
            whole = json.loads(body)
        except (ValueError, RecursionError):
            pass
        else:
            return Peek("object", ({key: _entry(value) for key, value in whole.items()},))
    try:
        for key, item in islice(stream_members(path), _ENTRIES):
            members.setdefault(key, item.value)
            if key in _STOP_AT and isinstance(item.value, dict):
                break
    except RecordError:
        # One broken line among lines: what can be read of it still tells the format, and reading names it.
        if not members:
            return Peek("lines", tuple(item.value for item in islice(stream_json(path), _FIRST)))
    return Peek("object", (members,))


def _entry(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _folder(path: Path) -> Peek:
    inside: dict[str, list[Peek]] = {}
    names: list[str] = []
    seen: dict[str, int] = {}
    for file in islice((file for file in sorted(path.rglob("*")) if file.is_file()), _ENTRIES):
        names.append(str(file.relative_to(path)))
        # A few of each suffix is enough, and of a folder's pictures none.
        seen[file.suffix] = seen.get(file.suffix, 0) + 1
        if seen[file.suffix] > _FILES:
            continue
        try:
            look = peek(file)
        except RecordError:
            continue
        inside.setdefault(look.kind, []).append(look)
    return Peek("folder", inside={kind: tuple(looks) for kind, looks in inside.items()}, names=tuple(names))
