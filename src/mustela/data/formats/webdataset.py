"""WebDataset: tar shards in which the files of one sample lie side by side under one name.

    000001.jpg  000001.json  000002.jpg  000002.json ...

`.json` is a conversation of any kind that is read from JSON; without it, `.txt` or `.caption` is a caption. A
folder of shards is read in the order of their names, each from front to back.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mustela.data.formats import chat, osprey, shikra, swift
from mustela.data.formats.embedded import keep_picture
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import ToNative, convert
from mustela.data.formats.scene import Caption, Scene
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_PICTURES = ("jpg", "jpeg", "png", "webp", "bmp")
_KINDS: tuple[tuple[Format, ToNative], ...] = (
    (osprey.OSPREY, osprey.to_native),
    (shikra.SHIKRA, shikra.to_native),
    (swift.SWIFT, swift.to_native),
    (chat.CHAT, chat.to_native),
)


def _recognise(look: Peek) -> str | None:
    for each in look.of("tar"):
        suffixes = {name.rsplit(".", 1)[-1].lower() for name in each.names}
        if suffixes & set(_PICTURES) and suffixes & {"json", "txt", "caption"}:
            return "a tar in which pictures and texts lie side by side, as in WebDataset"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a record, or a scene with a caption, for each sample of each shard."""
    shards = sorted(source.path.rglob("*.tar")) if source.path.is_dir() else [source.path]
    for shard in shards:
        number = 0
        try:
            for key, files in _samples(shard):
                number += 1
                yield from convert({"key": key, **files}, _sample, source, file=str(shard), line=number)
        except (tarfile.TarError, OSError) as error:
            yield Found(file=str(shard), fault=f"broken or cut off after sample {number}: {error}", last=True)


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples of a shard in one pass."""
    key, files = "", dict[str, bytes]()
    with tarfile.open(shard, "r|*") as tar:
        for member in tar:
            opened = tar.extractfile(member) if member.isfile() else None
            if opened is None:
                continue
            folder, _, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            found = f"{folder}/{stem}" if folder else stem
            if found != key and files:
                yield key, files
                files = {}
            key = found
            files[suffix.lower()] = opened.read()
    if files:
        yield key, files


def _sample(value: Mapping[str, Any], source: Source) -> Iterator[Found]:
    key = value["key"]
    name, picture = next(((name, value[name]) for name in _PICTURES if name in value), ("", None))
    pictures: dict[str, bytes] = {}
    image = None if picture is None else keep_picture(picture, f"{key}.{name}", pictures)
    if "json" in value:
        try:
            record = json.loads(value["json"].decode("utf-8-sig"))
        except ValueError as error:
            raise RecordError(f"{key}.json: {error}") from error
        if not isinstance(record, dict):
            raise RecordError(f"{key}.json is a {type(record).__name__}, not an object")
        if {"conversations", "messages", "question", "description", "expression"} & record.keys():
            yield from _conversations({"id": key, **record}, image, pictures, source)
            return
        texts = [record[name] for name in ("caption", "text") if isinstance(record.get(name), str)]
    else:
        texts = [value[name].decode("utf-8").strip() for name in ("caption", "txt") if name in value]
    if image is None or not texts:
        raise RecordError(f"sample {key} has no {'picture' if image is None else 'conversation or caption'}")
    yield Found(
        Scene(key, image, captions=(Caption(texts[0]),), exhaustive=False, complete=False), pictures=pictures
    )


def _conversations(
    record: dict[str, Any], image: str | None, pictures: dict[str, bytes], source: Source
) -> Iterator[Found]:
    look = Peek("lines", (record,))
    kind = next((to_native for format_, to_native in _KINDS if format_.recognise(look)), None)
    if kind is None:
        yield Found({**record, "image": image} if image else record, pictures=pictures)
        return
    for found in kind({**record, "images": [image]} if image and "messages" in record else record, source):
        native = dict(found.value) if isinstance(found.value, Mapping) else {}
        yield Found({**native, "image": image} if image else native, pictures={**found.pictures, **pictures})


WEBDATASET = Format("webdataset", "WebDataset tar shards", "conversations", _recognise, read, folders=True)
