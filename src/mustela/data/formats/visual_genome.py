"""Visual Genome: a folder of JSON arrays, one entry a picture; each file may be missing.

    objects:     [{"image_id": 1, "objects": [{"object_id": 5, "x": 1, "y": 2, "w": 3, "h": 4,
                                               "names": ["clock"]}]}]
    attributes:  [{"image_id": 1, "attributes": [{"object_id": 5, "attributes": ["green"], ...}]}]
    relations:   [{"image_id": 1, "relationships": [{"predicate": "on", "subject": {...}, "object": {...}}]}]
    regions:     [{"id": 1, "regions": [{"x": 1, "y": 2, "width": 3, "height": 4, "phrase": "green clock"}]}]
    pictures:    [{"image_id": 1, "width": 800, "height": 600, "url": ".../VG_100K_2/1.jpg"}]

What a file is shows in its first entry. A picture is the last two parts of its address, or `1.jpg`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mustela.data.formats.peek import Peek, peek
from mustela.data.formats.scene import Relation, Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.spool import Spool
from mustela.data.json_stream import stream_json
from mustela.errors import RecordError

_LISTS = ("objects", "attributes", "relationships", "regions")


def _part(record: Mapping[str, Any]) -> str | None:
    """Return which of the files an entry is from."""
    if not ("image_id" in record or "id" in record):
        return None
    for key in _LISTS:
        entries = record.get(key)
        if isinstance(entries, list) and (not entries or isinstance(entries[0], Mapping)):
            return key
    return "pictures" if {"width", "height", "url"} <= record.keys() else None


def _recognise(look: Peek) -> str | None:
    parts = {_part(each.record) for each in look.of("json")}
    if parts & set(_LISTS):
        return "entries of a picture's objects, attributes, relationships or regions, as in Visual Genome"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture."""
    with Spool() as spool:
        pictures: dict[Any, None] = {}
        for file in sorted(source.path.glob("*.json")) if source.path.is_dir() else [source.path]:
            look = peek(file)
            if look.kind != "json" or _part(look.record) is None:
                continue
            for number, entry in _entries(file):
                pictures.setdefault(number)
                spool.add(number, entry)
        for number in pictures:
            merged: dict[str, Any] = {}
            for entry in spool.get(number):
                merged |= entry
            try:
                yield Found(_scene(number, merged), str(source.path))
            except (KeyError, TypeError, ValueError) as error:
                yield Found(file=str(source.path), fault=f"picture {number}: {error!r}")


def _entries(file: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    for item in stream_json(file):
        if item.fault is not None or not isinstance(item.value, Mapping):
            raise RecordError(f"{file}:{item.line}: {item.fault or 'an entry is not an object'}.")
        number = item.value.get("image_id", item.value.get("id"))
        yield number, dict(item.value)


def _scene(number: Any, entry: Mapping[str, Any]) -> Scene:
    size = (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None
    image = "/".join(str(entry["url"]).rsplit("/", 2)[-2:]) if entry.get("url") else f"{number}.jpg"
    known = {each["object_id"]: each for each in _all_objects(entry)}
    attributes = {
        each.get("object_id"): tuple(each.get("attributes") or ()) for each in entry.get("attributes", ())
    }
    places = {identity: place for place, identity in enumerate(known)}
    things = [
        Thing(_name(each), _box(each), attributes=attributes.get(identity, ()))
        for identity, each in known.items()
    ]
    things += [
        Thing("", _box(each), phrases=(str(each["phrase"]).strip(),)) for each in entry.get("regions", ())
    ]
    relations = [
        Relation(
            places[each["subject"]["object_id"]],
            str(each["predicate"]).strip().lower(),
            places[each["object"]["object_id"]],
        )
        for each in entry.get("relationships", ())
    ]
    return Scene(
        str(number), image, size, tuple(things), relations=tuple(relations), exhaustive=False, complete=False
    )


def _all_objects(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield objects wherever they are described; the three files don't all list the same."""
    yield from entry.get("attributes", ())
    for relation in entry.get("relationships", ()):
        yield from (relation["subject"], relation["object"])
    yield from entry.get("objects", ())


def _name(each: Mapping[str, Any]) -> str:
    names = each.get("names") or [each.get("name", "")]
    return str(names[0]).strip()


def _box(each: Mapping[str, Any]) -> dict[str, Any]:
    x, y = float(each["x"]), float(each["y"])
    return box_region(x, y, x + each.get("w", each.get("width")), y + each.get("h", each.get("height")))


VISUAL_GENOME = Format("visual_genome", "Visual Genome", "annotations", _recognise, read, folders=True)
