"""Chat messages, as in OpenAI's API and in chat data sets, with regions as parts.

    {"messages": [
       {"role": "user", "content": [
          {"type": "image", "image": "a.jpg"},
          {"type": "text", "text": "What is "},
          {"type": "region", "region": {"type": "box", "xyxy": [10, 20, 200, 180]}},
          {"type": "text", "text": "?"}]},
       {"role": "assistant", "content": "A dog."}]}

An image part may also be `{"type": "image_url", "image_url": {"url": ...}}` (a path, `file:` or a base64
`data:` address; nothing is fetched), or only `{"type": "image"}` where `images` lists the paths. Texts may
hold `<image>` themselves. The region objects are those of the native `regions`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, reader, turns_of
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_SUFFIXES = {"jpeg": ".jpg", "jpg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp", "gif": ".gif"}


def _recognise(look: Peek) -> str | None:
    record = first_with(look, "messages")
    if record is not None and any("role" in turn for turn in turns_of(record, "messages")):
        return "records with 'messages' that have a role, as chat data has"
    return None


def to_native(value: Mapping[str, Any], _: Source) -> Iterable[Found]:
    """Return the conversation of one record, with the pictures that are inside it."""
    pictures: dict[str, bytes] = {}
    listed = iter(value.get("images") or [])
    turns, regions, paths = [], [], list[str]()
    for message in value["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text, of_turn = "", list[Any]()
        for part in parts:
            kind = part["type"]
            if kind in ("image", "image_url"):
                paths.append(_path(part, listed, pictures))
                # A picture stands on a line of its own, as in native records.
                text += f"{IMAGE_PLACEHOLDER}\n"
            elif kind == "region":
                text += f"<bbox_location{len(of_turn)}>"
                of_turn.append(part["region"])
            elif kind == "text":
                paths += [_address(each, pictures) for each in _named_in(part["text"], listed)]
                text += part["text"]
            else:
                raise RecordError(f"a part of the unknown type {kind!r}; known: text, image, region")
        turns.append({"from": message["role"], "value": text.strip()})
        regions.append(of_turn)
    native: dict[str, Any] = {"id": value.get("id"), "image": paths, "conversations": turns}
    yield Found({**native, "regions": regions} if any(regions) else native, pictures=pictures)


def _named_in(text: str, listed: Iterator[Any]) -> Iterator[Any]:
    for _ in range(text.count(IMAGE_PLACEHOLDER)):
        image = next(listed, None)
        if image is None:
            raise RecordError(f"more {IMAGE_PLACEHOLDER} in the texts than entries of 'images'")
        yield image


def _path(part: Mapping[str, Any], listed: Iterator[Any], pictures: dict[str, bytes]) -> str:
    given = part.get("image") or part.get("path") or part.get("url") or part.get("image_url")
    given = given.get("url") if isinstance(given, Mapping) and "url" in given else given
    given = next(listed, None) if given is None else given
    if given is None:
        raise RecordError("an image part names no image, and 'images' has none left")
    return _address(given, pictures)


def _address(given: Any, pictures: dict[str, bytes]) -> str:
    """Return the path of a picture; one that is inside is kept under a name made of its content."""
    if isinstance(given, Mapping):
        if isinstance(given.get("bytes"), bytes):
            return _keep(given["bytes"], str(given.get("path") or ""), pictures)
        given = given.get("path")
    if not isinstance(given, str):
        raise RecordError(f"an image is {given!r}, not a path")
    if given.startswith("data:"):
        head, _, body = given.partition(",")
        try:
            return _keep(base64.b64decode(body, validate=True), "x." + head[11:].split(";")[0], pictures)
        except binascii.Error as error:
            raise RecordError(f"a data: address isn't base64: {error}") from error
    if given.startswith(("http://", "https://")):
        raise RecordError(f"the image {given} is an address, and none is fetched; give a path")
    return unquote(urlsplit(given).path) if given.startswith("file:") else given


def _keep(content: bytes, name: str, pictures: dict[str, bytes]) -> str:
    suffix = _SUFFIXES.get(name.rsplit(".", 1)[-1].lower(), ".png")
    path = hashlib.sha256(content).hexdigest()[:20] + suffix
    pictures[path] = content
    return path


CHAT = Format("chat", "chat messages", "conversations", _recognise, reader(to_native))
