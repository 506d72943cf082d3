"""ms-swift's grounding format: chat messages whose `<ref-object>` and `<bbox>` `objects` fills in order.

    {"messages": [{"role": "user", "content": "<image>Find <ref-object>."},
                  {"role": "assistant", "content": "<bbox>"}],
     "images": ["a.jpg"],
     "objects": {"ref": ["a dog"], "bbox": [[10, 20, 200, 180]], "bbox_type": "real", "image_id": [0]}}

`bbox_type` is `real` (pixels, the default) or `norm1` (shares of the sides); `image_id` says which picture
each box is in, 0 where it is left out. A `bbox` of two numbers is a point. `objects` may be a text of JSON.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mustela.data.formats import chat
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import reader
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_REF, _BOX = "<ref-object>", "<bbox>"
_SLOT = re.compile(f"{_REF}|{_BOX}")


def _recognise(look: Peek) -> str | None:
    for each in look.of("json", "lines", "object"):
        for value in each.values:
            if isinstance(value, Mapping) and "messages" in value and _is_grounding(value.get("objects")):
                return "records with 'messages' and 'objects' of bbox and ref, as in ms-swift"
    return None


def _is_grounding(objects: object) -> bool:
    if isinstance(objects, str):
        try:
            objects = json.loads(objects)
        except ValueError:
            return False
    return isinstance(objects, Mapping) and bool(objects.keys() & {"bbox", "ref"})


def to_native(value: Mapping[str, Any], source: Source) -> Iterable[Found]:
    """Return the conversation of one record."""
    objects = _objects(value.get("objects"))
    refs, boxes = _listed(objects, "ref"), _listed(objects, "bbox")
    for number, box in enumerate(boxes):
        _check_box(box, number)
    kind = _kind(objects.get("bbox_type"), boxes)
    for found in chat.to_native(value, source):
        native = dict(found.value) if isinstance(found.value, Mapping) else {}
        images = _image_ids(objects, len(boxes), len(native["image"]))
        _check_counts(native["conversations"], len(refs), len(boxes))
        names, regions, used = iter(refs), [], 0
        for turn in native["conversations"]:
            first = used

            def fill(slot: re.Match[str], first: int = first, names: Iterator[Any] = names) -> str:
                nonlocal used
                if slot[0] == _REF:
                    return str(next(names))
                used += 1
                return f"<bbox_location{used - 1 - first}>"

            turn["value"] = _SLOT.sub(fill, turn["value"])
            regions.append(
                [_region(boxes[n], images[n], native["image"], kind, source) for n in range(first, used)]
            )
        yield Found({**native, "regions": regions}, pictures=found.pictures)


def _objects(value: object) -> Mapping[str, Any]:
    """Return `objects`, which some data sets keep as a text of JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RecordError(f"objects is a text that isn't JSON: {error}") from error
    if value is not None and not isinstance(value, Mapping):
        raise RecordError(f"objects is {value!r}; give an object with 'ref' and 'bbox'")
    return value or {}


def _listed(objects: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = objects.get(key) or []
    if not isinstance(value, list | tuple):
        raise RecordError(f"objects, {key}: {value!r}; give a list")
    return value


def _check_box(box: object, number: int) -> None:
    if isinstance(box, int | float):
        raise RecordError(
            f"objects, bbox: {number} is the number {box!r}; give a list of boxes,"
            " [[x1, y1, x2, y2]] also for a single one"
        )
    if not isinstance(box, list | tuple) or len(box) not in (2, 4):
        raise RecordError(f"objects, bbox: {number} is {box!r}; give [x1, y1, x2, y2], or [x, y] for a point")
    if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in box):
        raise RecordError(f"objects, bbox: {number} is {box!r}; give numbers")


def _kind(kind: object, boxes: Sequence[Sequence[float]]) -> str:
    if kind is None:
        if boxes and all(0 <= side <= 1 for box in boxes for side in box):
            raise RecordError(
                "objects, bbox: all numbers are from 0 to 1 and nothing says what they are; write"
                " 'bbox_type': 'norm1' if they are shares of the sides, 'real' if they are pixels"
            )
        return "real"
    if kind not in ("real", "norm1"):
        raise RecordError(f"bbox_type is {kind!r}; known: real, norm1")
    return str(kind)


def _image_ids(objects: Mapping[str, Any], boxes: int, pictures: int) -> Sequence[int]:
    """Return which picture each box is in."""
    numbers = _listed(objects, "image_id") or [0] * boxes
    if len(numbers) != boxes:
        raise RecordError(f"{boxes} boxes but {len(numbers)} entries of image_id; give one for each box")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < pictures:
            raise RecordError(
                f"objects, image_id: {number!r}, but there are {pictures} images; they are counted from 0"
            )
    return numbers


def _check_counts(turns: Iterable[Mapping[str, Any]], refs: int, boxes: int) -> None:
    found = Counter(slot for turn in turns for slot in _SLOT.findall(turn["value"]))
    for slot, count, key in ((_REF, refs, "ref"), (_BOX, boxes, "bbox")):
        if found[slot] != count:
            raise RecordError(
                f"{found[slot]} {slot} in the texts, {count} entries of {key!r} in 'objects';"
                f" write {slot} once for each entry"
            )


def _region(
    numbers: Sequence[float], image: int, paths: list[str], kind: str, source: Source
) -> dict[str, Any]:
    if kind == "norm1":
        size = source.picture_size(paths[image])
        numbers = [number * size[axis % 2] for axis, number in enumerate(numbers)]
    shape: dict[str, Any] = {"type": "box", "xyxy": numbers}
    if len(numbers) == 2:
        shape = {"type": "point", "xy": numbers}
    return {**shape, "image": image} if image else shape


SWIFT = Format("swift", "ms-swift grounding", "conversations", _recognise, reader(to_native))
