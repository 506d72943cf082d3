"""Chat messages, as in OpenAI's API and in chat data sets, with regions as parts.

    {"messages": [
       {"role": "user", "content": [
          {"type": "image", "image": "a.jpg"},
          {"type": "text", "text": "What is "},
          {"type": "region", "region": {"type": "box", "xyxy": [10, 20, 200, 180]}},
          {"type": "text", "text": "?"}]},
       {"role": "assistant", "content": "A dog."}]}

An image part may also be `{"type": "image_url", "image_url": {"url": ...}}` (a path, `file:` or a base64
`data:` address; nothing is fetched), or only `{"type": "image"}` where `images` (or `image`) lists the paths.
Texts may hold `<image>` themselves; where nothing says where the listed pictures stand, they stand before the
first user text. The region objects are those of the native `regions`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, reader, turns_of
from mustela.data.formats.source import Format, Found, Source
from mustela.data.native import ROLES
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
    given = _images(value)
    listed = iter(given)
    turns, regions, paths = [], [], list[str]()
    for number, message in enumerate(_messages(value)):
        text, of_turn = "", list[Any]()
        for part in _parts(message, number):
            kind = part.get("type")
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
    left = [_address(each, pictures) for each in listed]
    if left == paths and len(left) == len(given):
        left = []  # the parts name the listed pictures themselves
    if left and not paths:
        _put_first(turns, len(left))
    # Too few places for the pictures are a fault that the check of the record names.
    native: dict[str, Any] = {"id": value.get("id"), "image": paths + left, "conversations": turns}
    yield Found({**native, "regions": regions} if any(regions) else native, pictures=pictures)


def _images(value: Mapping[str, Any]) -> Sequence[Any]:
    """Return what `images` lists, or `image`; a picture alone is a list of one."""
    key = "images" if value.get("images") else "image"
    given = value.get(key) or []
    if isinstance(given, str | Mapping):
        return [given]
    if not isinstance(given, list | tuple):
        raise RecordError(f"{key} is {given!r}; give a path, or a list of paths")
    return given


def _messages(value: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    messages = value["messages"]
    if not isinstance(messages, list | tuple):
        raise RecordError(f"messages is {messages!r}; give a list of messages with 'role' and 'content'")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise RecordError(f"turn {number} is {message!r}; give an object with 'role' and 'content'")
        answers = ROLES.get(str(message.get("role"))) == "assistant"
        if answers and message.get("loss") is not None and not message["loss"]:
            raise RecordError(
                f"turn {number}, loss: {message['loss']!r}, but every answer of a record is learnt; take out"
                " 'loss' to learn this one, or leave out the answer and its question"
            )
    return messages


def _parts(message: Mapping[str, Any], number: int) -> Sequence[Mapping[str, Any]]:
    """Return the parts of a message's content; a text is one part."""
    content = message["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list | tuple):
        raise RecordError(f"turn {number}, content: {content!r}; give a text, or a list of parts")
    for part in content:
        if not isinstance(part, Mapping):
            raise RecordError(f"turn {number}, content: the part {part!r} is no object; give one with 'type'")
        if part.get("type") == "text" and not isinstance(part.get("text"), str):
            raise RecordError(
                f"turn {number}, content: a part of the type 'text' has the text {part.get('text')!r};"
                " write one, or leave the part out"
            )
    return content


def _put_first(turns: Sequence[dict[str, Any]], count: int) -> None:
    """Let pictures stand before the first text of the user, as ms-swift does."""
    for turn in turns:
        if ROLES.get(turn["from"]) == "user":
            turn["value"] = (f"{IMAGE_PLACEHOLDER}\n" * count + turn["value"]).strip()
            return


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
