"""ms-swift's grounding format: chat messages whose `<ref-object>` and `<bbox>` `objects` fills in order.

    {"messages": [{"role": "user", "content": "<image>Find <ref-object>."},
                  {"role": "assistant", "content": "<bbox>"}],
     "images": ["a.jpg"],
     "objects": {"ref": ["a dog"], "bbox": [[10, 20, 200, 180]], "bbox_type": "real", "image_id": [0]}}

`bbox_type` is `real` (pixels, the default) or `norm1` (shares of the sides); `image_id` says which picture
each box is in, 0 where it is left out. A `bbox` of two numbers is a point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mustela.data.formats import chat
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, reader
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_SLOT = re.compile(r"<ref-object>|<bbox>")


def _recognise(look: Peek) -> str | None:
    record = first_with(look, "messages", "objects")
    objects = record["objects"] if record is not None else None
    if isinstance(objects, Mapping) and objects.keys() & {"bbox", "ref"}:
        return "records with 'messages' and 'objects' of bbox and ref, as in ms-swift"
    return None


def to_native(value: Mapping[str, Any], source: Source) -> Iterable[Found]:
    """Return the conversation of one record."""
    objects = value.get("objects") or {}
    refs, boxes = iter(objects.get("ref") or []), list(objects.get("bbox") or [])
    images = objects.get("image_id") or [0] * len(boxes)
    kind = objects.get("bbox_type", "real")
    if kind not in ("real", "norm1"):
        raise RecordError(f"bbox_type is {kind!r}; known: real, norm1")
    if len(images) != len(boxes):
        raise RecordError(f"{len(boxes)} boxes but {len(images)} entries of image_id")
    for found in chat.to_native({**value, "messages": value["messages"]}, source):
        native = dict(found.value) if isinstance(found.value, Mapping) else {}
        regions, used = [], 0
        for turn in native["conversations"]:
            first = used

            def fill(slot: re.Match[str], first: int = first) -> str:
                nonlocal used
                if slot[0] == "<bbox>":
                    used += 1
                    return f"<bbox_location{used - 1 - first}>"
                return str(next(refs, slot[0]))

            turn["value"] = _SLOT.sub(fill, turn["value"])
            if used > len(boxes):
                raise RecordError(f"more <bbox> in the texts than the {len(boxes)} boxes of 'objects'")
            regions.append(
                [_region(boxes[n], int(images[n]), native["image"], kind, source) for n in range(first, used)]
            )
        if used < len(boxes):
            raise RecordError(f"{used} <bbox> in the texts for the {len(boxes)} boxes of 'objects'")
        yield Found({**native, "regions": regions}, pictures=found.pictures)


def _region(numbers: list[float], image: int, paths: list[str], kind: str, source: Source) -> dict[str, Any]:
    if kind == "norm1":
        size = source.picture_size(paths[image])
        numbers = [number * size[axis % 2] for axis, number in enumerate(numbers)]
    shape: dict[str, Any] = {"type": "box", "xyxy": numbers}
    if len(numbers) == 2:
        shape = {"type": "point", "xy": numbers}
    return {**shape, "image": image} if image else shape


SWIFT = Format("swift", "ms-swift grounding", "conversations", _recognise, reader(to_native))
