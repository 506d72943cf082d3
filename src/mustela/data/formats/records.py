"""Formats with one conversation a JSON value: how all of them are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.formats.peek import Peek
from mustela.data.formats.source import Found, Source
from mustela.data.json_stream import stream_json
from mustela.errors import RecordError

ToNative: TypeAlias = Callable[[Mapping[str, Any], Source], Iterable[Found]]
"""Makes native records of one value; whatever it raises on a bad value is the record's fault."""

# What code raises that meets a value of another kind; a generator turns StopIteration into RuntimeError.
_BAD_RECORD = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_REMEDY = "a value of it is null or of another kind than its format has; correct the record"


def reader(to_native: ToNative) -> Callable[[Source], Iterator[Found]]:
    """Return a reader of JSON arrays and JSON lines."""

    def read(source: Source) -> Iterator[Found]:
        file = str(source.path)
        for item in stream_json(source.path):
            if item.fault is not None:
                yield Found(file=file, line=item.line, fault=item.fault, last=item.last)
            else:
                yield from convert(item.value, to_native, source, file=file, line=item.line)

    return read


def convert(
    value: object, to_native: ToNative, source: Source, *, file: str, line: int | None
) -> Iterator[Found]:
    """Yield what one value holds, or the fault that it has."""
    if not isinstance(value, Mapping):
        yield Found(file=file, line=line, fault=f"the record is a {type(value).__name__}, not an object")
        return
    try:
        for found in to_native(value, source):
            yield Found(found.value, file, line, found.fault, pictures=found.pictures)
    except RecordError as error:
        yield Found(file=file, line=line, fault=str(error).rstrip("."))
    except KeyError as error:
        yield Found(file=file, line=line, fault=f"the record can't be read: the key {error} is missing")
    except _BAD_RECORD as error:
        yield Found(file=file, line=line, fault=f"the record can't be read: {error}; {_REMEDY}")


def lacks_image(turns: Iterable[Mapping[str, Any]]) -> bool:
    """Whether no turn says where the picture stands."""
    return not any(IMAGE_PLACEHOLDER in str(turn["value"]) for turn in turns)


def first_with(look: Peek, *keys: str) -> Mapping[str, Any] | None:
    """Return a record of a JSON file that has all of the keys."""
    for each in look.of("json", "lines", "object"):
        for value in each.values:
            if isinstance(value, Mapping) and set(keys) <= value.keys():
                return value
    return None


def turns_of(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the turns under a key; of a long file's first look, where a list stands for its first entry."""
    value = record.get(key)
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, Mapping)]
