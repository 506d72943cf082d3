"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that mean one object of a COCO picture.

The expressions are a list, as a pickle (`refs(unc).p`, plain data only) or as JSON:

    [{"ref_id": 0, "ann_id": 1719310, "category_id": 1, "image_id": 581857, "split": "train",
      "file_name": "COCO_train2014_000000581857_16.jpg",
      "sentences": [{"sent": "the lady with the blue shirt"}]}]

The objects are in a COCO file (`instances.json`) in the same folder. Entries with a `bbox` of their own need
none. Splits: train, val, test, testA, testB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mustela.data.formats.coco import thing_of
from mustela.data.formats.peek import Peek, peek
from mustela.data.formats.plain_pickle import load_plain_pickle
from mustela.data.formats.records import convert
from mustela.data.formats.scene import Scene, Thing
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.spool import Spool
from mustela.data.json_stream import stream_members
from mustela.errors import RecordError

_NEEDED = {"images": ("id",), "categories": ("id", "name"), "annotations": ("id", "image_id")}


def _recognise(look: Peek) -> str | None:
    if any("ref_id" in each.record and "sentences" in each.record for each in look.of("json")):
        return "entries with 'ref_id' and 'sentences', as in RefCOCO"
    if look.of("pickle"):
        return "a pickle, which of all formats only RefCOCO's expressions are"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture of the split, with the objects that expressions mean."""
    refs_file, instances = _files(source.path)
    refs = load_plain_pickle(refs_file) if peek(refs_file).kind == "pickle" else _load_json(refs_file)
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    splits: set[str] = set()
    for ref in _checked(refs, refs_file):
        splits.add(str(ref.get("split")))
        # RefCOCOg's test pictures are "test"; RefCOCO's are "testA" and "testB".
        if source.split in (None, ref.get("split")):
            by_image.setdefault(ref["image_id"], []).append(ref)
    if not by_image:
        raise RecordError(f"{refs_file}: no split {source.split!r}. It has: {', '.join(sorted(splits))}.")
    if instances is None and not all("bbox" in ref for refs in by_image.values() for ref in refs):
        raise RecordError(f"{refs_file}: the objects are missing: put COCO's instances.json into its folder.")
    with Spool() as spool:
        faults: list[str] = []
        images, names = _load_instances(instances, by_image, spool, faults) if instances else ({}, {})
        for of_instances in faults:
            yield Found(file=str(instances), fault=of_instances)
        for number, of_image in by_image.items():
            value = {"number": number, "refs": of_image, "image": images.get(number, {})}

            def scene(value: Mapping[str, Any], _: Source) -> list[Found]:
                return [Found(_scene(value["number"], value["refs"], value["image"], names, spool))]

            for found in convert(value, scene, source, file=str(refs_file), line=None):
                fault = None if found.fault is None else f"picture {number}: {found.fault}"
                yield Found(found.value, found.file, fault=fault)


def _checked(refs: Any, file: Path) -> Iterator[Mapping[str, Any]]:
    if not isinstance(refs, list):
        raise RecordError(f"{file}: RefCOCO's expressions are a list, this is a {type(refs).__name__}.")
    for number, ref in enumerate(refs):
        if not (isinstance(ref, Mapping) and "image_id" in ref and isinstance(ref.get("sentences"), list)):
            raise RecordError(f"{file}: entry {number} has no image_id or no list of sentences.")
        yield ref


def _files(path: Path) -> tuple[Path, Path | None]:
    folder = path if path.is_dir() else path.parent
    looks = {
        file: peek(file)
        for file in sorted(folder.iterdir())
        if file.suffix in (".p", ".pkl", ".pickle", ".json")
    }
    instances = [
        file for file, look in looks.items() if "images" in look.record or "annotations" in look.record
    ]
    refs = [file for file, look in looks.items() if _recognise(look) and file not in instances]
    if not path.is_dir():
        refs = [path]
    if len(refs) != 1:
        names = ", ".join(file.name for file in refs) or "none"
        raise RecordError(f"{folder}: found these files of expressions: {names}. Name the one to read.")
    return refs[0], instances[0] if instances else None


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{file}: not JSON: {error}.") from error


def _load_instances(
    file: Path, wanted: Mapping[Any, Any], spool: Spool, faults: list[str]
) -> tuple[dict[Any, Mapping[str, Any]], dict[Any, str]]:
    images: dict[Any, Mapping[str, Any]] = {}
    names: dict[Any, str] = {}
    for key, item in stream_members(file):
        if not isinstance(item.value, Mapping):
            continue
        lacking = [needed for needed in _NEEDED.get(key, ()) if needed not in item.value]
        if lacking:
            faults.append(f"an entry of {key} has no {lacking[0]}: {str(item.value)[:200]}. Add it")
            continue
        if key == "images" and item.value["id"] in wanted:
            images[item.value["id"]] = item.value
        elif key == "categories":
            names[item.value["id"]] = str(item.value["name"])
        elif key == "annotations" and item.value["image_id"] in wanted:
            spool.add(item.value["id"], item.value)
    return images, names


def _scene(
    number: Any,
    refs: list[Mapping[str, Any]],
    image: Mapping[str, Any],
    names: Mapping[Any, str],
    spool: Spool,
) -> Scene:
    size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
    # A ref's file name is the picture's with the object's number behind it.
    name = image.get("file_name") or re.sub(r"_\d+(?=\.\w+$)", "", str(refs[0].get("file_name", number)))
    things = []
    for ref in refs:
        annotations = [ref] if "bbox" in ref else spool.get(ref.get("ann_id"))
        thing = (
            thing_of(annotations[0], names.get(ref.get("category_id"), ""), size)
            if annotations
            else Thing("", {"type": "box", "xyxy": f"missing: annotation {ref.get('ann_id')}"})
        )
        if not all(isinstance(each, Mapping) for each in ref["sentences"]):
            raise RecordError(
                f"ref_id {ref.get('ref_id')}: sentences are {ref['sentences']!r}."
                " Each is an object with `sent`; correct them"
            )
        phrases = tuple(dict.fromkeys(str(each["sent"]) for each in ref["sentences"] if each.get("sent")))
        things.append(Thing(thing.name, thing.region, phrases=phrases))
    return Scene(str(number), str(name), size, tuple(things), exhaustive=False, complete=False)


REFCOCO = Format("refcoco", "RefCOCO, RefCOCO+, RefCOCOg", "annotations", _recognise, read, folders=True)
