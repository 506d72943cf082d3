"""The native record file: Ferret's JSON, with an extension for regions that are not boxes.

    {"id": "a1", "image": "a.jpg", "image_w": 640, "image_h": 480,
     "conversations": [{"from": "human", "value": "<image>\\nWhat is <bbox_location0>?"},
                       {"from": "gpt", "value": "a dog"}],
     "box_x1y1x2y2": [[[10, 20, 200, 180]], []],
     "masks": [[{"size": [480, 640], "counts": "..."}], []]}

A file is a JSON array of such objects, or one a line. `box_x1y1x2y2[k]` and `masks[k]` (COCO RLE or null,
optional) belong to `conversations[k]`, `<bbox_locationN>` in its text to the N-th of them, counted from 0.
`image` is a path or a list of paths; for a list, `image_w` and `image_h` are lists too. A first turn
`{"from": "system", ...}` is the system text.

The extension: `regions` in place of `box_x1y1x2y2`, one list a turn, of the objects of
`mustela.regions.serial`: `{"type": "point", "xy": [3, 4]}`, also "box", "scribble", "polygon" and "mask".
Each may have a `"mask"` (RLE, the object's segmentation) and an `"image"` (index of its picture, 0 if left
out). Always in pixels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn, TurnRole
from mustela.errors import RecordError
from mustela.regions import Box, Mask, region_from_json, region_to_json

ROLES: Final[Mapping[str, TurnRole]] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
SYSTEM_ROLE: Final = "system"
REGION_KEYS: Final = ("mask", "image")
"""Keys of an object in `regions` that belong to the annotation and not to the region."""

# Made once: json.dumps would make one a record.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_WRITTEN_ROLES: Mapping[TurnRole, str] = {"user": "human", "assistant": "gpt"}


def record_to_native(record: Record) -> dict[str, Any]:
    """Return the record as a JSON object of the native form; boxes of one picture in Ferret's own keys."""
    native: dict[str, Any] = {"id": record.id}
    if record.images:
        paths = [image.path for image in record.images]
        native["image"] = paths[0] if len(paths) == 1 else paths
        sizes = [image.size_wh for image in record.images]
        if any(sizes):
            for axis, key in enumerate(("image_w", "image_h")):
                sides = [size[axis] if size else None for size in sizes]
                native[key] = sides[0] if len(sides) == 1 else sides
    system = [{"from": SYSTEM_ROLE, "value": record.system}] if record.system is not None else []
    native["conversations"] = system + [
        {"from": _WRITTEN_ROLES[turn.role], "value": turn.text} for turn in record.turns
    ]
    annotations = (
        [(), *(turn.regions for turn in record.turns)] if system else [t.regions for t in record.turns]
    )
    everything = [annotation for turn in annotations for annotation in turn]
    if not everything:
        return native
    if any(annotation.image or not isinstance(annotation.region, Box) for annotation in everything):
        native["regions"] = [
            [_annotation_to_native(annotation) for annotation in turn] for turn in annotations
        ]
        return native
    native["box_x1y1x2y2"] = [
        [[int(side) if side.is_integer() else side for side in a.region.bounds_xyxy()] for a in turn]
        for turn in annotations
    ]
    if any(annotation.mask for annotation in everything):
        native["masks"] = [[a.mask.to_rle() if a.mask else None for a in turn] for turn in annotations]
    return native


def _annotation_to_native(annotation: RegionAnnotation) -> dict[str, Any]:
    native: dict[str, Any] = region_to_json(annotation.region)
    if annotation.mask is not None:
        native["mask"] = annotation.mask.to_rle()
    if annotation.image:
        native["image"] = annotation.image
    return native


def record_from_native(native: Mapping[str, Any]) -> Record:
    """Return the record of an object that `record_to_native` made.

    The hot path of the record store: nothing is checked. For data from elsewhere use
    `mustela.data.check.check_record`.
    """
    paths: Any = native.get("image", [])
    widths: Any = native.get("image_w")
    heights: Any = native.get("image_h")
    if isinstance(paths, str):
        paths = [paths]
        widths, heights = [widths], [heights]
    unknown = [None] * len(paths)
    images = tuple(
        ImageRef(path, None if width is None else (width, height))
        for path, width, height in zip(paths, widths or unknown, heights or unknown, strict=True)
    )
    entries = native["conversations"]
    regions = _regions_from_native(native, len(entries))
    system = None
    if entries[0]["from"] == SYSTEM_ROLE:
        system, entries, regions = entries[0]["value"], entries[1:], regions[1:]
    turns = tuple(
        Turn(ROLES[entry["from"]], entry["value"], of_turn)
        for entry, of_turn in zip(entries, regions, strict=True)
    )
    return Record(native["id"], images, turns, system)


def _regions_from_native(native: Mapping[str, Any], turns: int) -> list[tuple[RegionAnnotation, ...]]:
    if "regions" in native:
        return [
            tuple(
                RegionAnnotation(
                    region_from_json(value, ignore=REGION_KEYS),
                    Mask.from_rle(value["mask"]) if "mask" in value else None,
                    value.get("image", 0),
                )
                for value in of_turn
            )
            for of_turn in native["regions"]
        ]
    boxes = native.get("box_x1y1x2y2")
    if boxes is None:
        return [()] * turns
    masks = native.get("masks")
    if not masks:
        return [tuple(RegionAnnotation(Box(*map(float, box))) for box in of_turn) for of_turn in boxes]
    read = iter(Mask.from_rles([mask for of_turn in masks for mask in of_turn if mask]))
    return [
        tuple(
            RegionAnnotation(Box(*map(float, box)), next(read) if mask else None)
            for box, mask in zip(boxes_of_turn, masks_of_turn, strict=True)
        )
        for boxes_of_turn, masks_of_turn in zip(boxes, masks, strict=True)
    ]


def dump_record(record: Record) -> str:
    """Return a record as one line of JSON without the line end."""
    return _ENCODER.encode(record_to_native(record))


def write_records(path: str | Path, records: Iterable[Record]) -> int:
    """Write records as a JSON array, or as JSON lines if the name ends in `.jsonl`; return how many.

    Each record is on a line of its own. The file appears when it is complete and replaces its namesake.

    Raises:
        RecordError: the file can't be written, or a text is not valid Unicode.
    """
    path = Path(path)
    lines = path.suffix == ".jsonl"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            for record in records:
                before = "" if lines else ",\n" if count else "[\n"
                file.write(before + dump_record(record) + ("\n" if lines else ""))
                count += 1
            if not lines:
                file.write("\n]\n" if count else "[]\n")
        unfinished.replace(path)
    except UnicodeEncodeError as error:
        raise RecordError(f"{path}: a text holds half of a surrogate pair: {error}.") from error
    except OSError as error:
        raise RecordError(f"{path}: can't write the records: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count
