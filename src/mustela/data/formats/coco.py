"""COCO instances, and what is built on it: LVIS and Objects365.

    {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "categories": [{"id": 18, "name": "dog"}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "segmentation": [[x1, y1, x2, y2, ...]], "iscrowd": 0}]}

`segmentation` may be polygons (several are parts of one object), or RLE, compressed or not. Captions of COCO
(`{"image_id": 1, "caption": "..."}`) are read too. LVIS names pictures by `coco_url` and says per picture
which categories are absent (`neg_category_ids`) and which incomplete (`not_exhaustive_category_ids`). Ids are
compared as text, so that "1" is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Caption, Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.spool import Spool
from mustela.data.json_stream import stream_members
from mustela.errors import RecordError, RegionError
from mustela.regions import Mask, region_from_json


def _recognise(peek: Peek) -> str | None:
    for look in peek.of("object"):
        image = look.record.get("images")
        if isinstance(image, Mapping) and "id" in image and ("file_name" in image or "coco_url" in image):
            return "one object with 'images' that have an id and a file name, as in COCO"
        annotation = look.record.get("annotations")
        if isinstance(annotation, Mapping) and "image_id" in annotation and "bbox" in annotation:
            return "one object with 'annotations' that have image_id and bbox, as in COCO"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture, those without objects included.

    Raises:
        RecordError: an entry has no usable id or name, or two pictures have the same id.
    """
    images: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    lines: dict[str, int] = {}
    with Spool() as spool:
        for key, item in stream_members(source.path):
            value = item.value
            if key not in ("images", "categories", "annotations"):
                continue
            where = f"{source.path}:{item.line}"
            if not isinstance(value, Mapping):
                raise RecordError(f"{where}: an entry of {key!r} is not an object.")
            number = _id(value, "image_id" if key == "annotations" else "id", where)
            if key == "images":
                _add_image(images, number, {**value, "line": item.line}, where)
            elif key == "categories":
                names[number] = _category_name(value, where)
            else:
                lines.setdefault(number, item.line)
                spool.add(number, value)
        orphans = [number for number in lines if number not in images]
        if orphans:
            fault = _orphan_fault(orphans)
            yield Found(file=str(source.path), line=lines[orphans[0]], fault=fault)
        lvis = any("neg_category_ids" in image for image in images.values())
        for number, image in images.items():
            # Where annotations are lost, a picture without any may be the one that lost them.
            known = not orphans or number in lines
            yield from _found(image, spool.get(number), names, str(source.path), lvis=lvis, known=known)


def _id(value: Mapping[str, Any], key: str, where: str) -> str:
    found = _text_id(value.get(key))
    if found is None:
        given = f"{key!r} is {value[key]!r}" if key in value else f"an entry has no {key!r}"
        raise RecordError(f"{where}: {given}. It is a number or a text; repair the file.")
    return found


def _text_id(value: object) -> str | None:
    """Return an id as text, None for what can't be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _add_image(images: dict[str, dict[str, Any]], number: str, image: dict[str, Any], where: str) -> None:
    if number in images:
        raise RecordError(
            f"{where}: the id {number} is that of the picture in line {images[number]['line']} as well, so"
            " annotations of it can't be told apart. Give each picture an id of its own."
        )
    images[number] = image


def _category_name(value: Mapping[str, Any], where: str) -> str:
    name = value.get("name", value["id"])
    if not isinstance(name, str | int) or not str(name).strip():
        raise RecordError(f"{where}: the name of category {value['id']} is {name!r}. It is a text; add it.")
    return str(name)


def _orphan_fault(orphans: Sequence[str]) -> str:
    some = ", ".join(orphans[:5]) + (", ..." if len(orphans) > 5 else "")
    return (
        f"annotations have an image_id that no entry of 'images' has, {len(orphans)} in all: {some}."
        " Add the pictures, or correct image_id"
    )


def _found(
    image: Mapping[str, Any],
    annotations: list[Any],
    names: Mapping[str, str],
    file: str,
    *,
    lvis: bool,
    known: bool,
) -> Iterator[Found]:
    """Yield a picture's scene, and before it a fault for each object of which the name isn't known."""
    objects = [
        each
        for each in annotations
        if "caption" not in each or each.get("bbox") is not None or each.get("segmentation")
    ]
    named = [(each, names.get(_text_id(each.get("category_id")) or "")) for each in objects]
    for each, name in named:
        if name is None:
            fault = (
                f"annotation {each.get('id')} of picture {image['id']}: no entry of 'categories' has its"
                f" category_id {each.get('category_id')!r}. Add the category, or correct the annotation"
            )
            yield Found(file=file, line=image["line"], fault=fault)
    known = known and all(name is not None for _, name in named)
    usable = [(each, name) for each, name in named if name is not None]
    captions = [each["caption"] for each in annotations if isinstance(each.get("caption"), str)]
    try:
        yield Found(_scene(image, usable, captions, names, lvis=lvis, known=known), file, image["line"])
    except RecordError as error:
        yield Found(file=file, line=image["line"], fault=f"picture {image['id']}: {error}")


def _scene(
    image: Mapping[str, Any],
    objects: Sequence[tuple[Mapping[str, Any], str]],
    captions: Sequence[str],
    names: Mapping[str, str],
    *,
    lvis: bool,
    known: bool,
) -> Scene:
    size = _size(image)
    # LVIS gives no file name; the last two parts of the address are split and name, as on disk.
    path = str(image.get("file_name") or "/".join(str(image.get("coco_url") or "").rsplit("/", 2)[-2:]))
    return Scene(
        id=str(image["id"]),
        image=path,
        size_wh=size,
        things=tuple(thing_of(each, name, size) for each, name in objects),
        captions=tuple(Caption(caption) for caption in captions),
        absent=_names(image, "neg_category_ids", names),
        partial=_names(image, "not_exhaustive_category_ids", names),
        exhaustive=known,
        # LVIS is annotated category by category: what isn't listed may be there all the same.
        complete=known and not lvis,
    )


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None or height is None:
        return None
    try:
        return int(width), int(height)
    except (TypeError, ValueError) as error:
        raise RecordError(
            f"width and height are {width!r} and {height!r}. They are numbers of pixels; correct them, or"
            " leave both out"
        ) from error


def _names(image: Mapping[str, Any], key: str, names: Mapping[str, str]) -> frozenset[str]:
    numbers = image.get(key)
    if numbers is None:
        return frozenset()
    if not isinstance(numbers, list):
        raise RecordError(f"{key} is {numbers!r}. It is a list of ids of categories; correct it")
    found = (names.get(_text_id(number) or "") for number in numbers)
    return frozenset(name for name in found if name is not None)


def thing_of(annotation: Mapping[str, Any], name: str, size_wh: tuple[int, int] | None) -> Thing:
    """Return the object of one COCO annotation; a box that is missing is that of the segmentation."""
    mask = _mask(annotation.get("segmentation"), size_wh)
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box):
        x, y, width, height = box
        region = box_region(x, y, x + width, y + height, mask)
    elif box is not None:
        region = {"type": "box", "xyxy": box}  # checked later, with everything else
    else:
        region = _box_of(mask)
    return Thing(name, region, crowd=bool(annotation.get("iscrowd")))


def _box_of(mask: object) -> dict[str, Any]:
    if mask is None:
        return {"type": "box", "xyxy": "missing: neither a bbox nor a segmentation"}  # reported later
    try:
        shape = (
            Mask.from_rle(mask)
            if isinstance(mask, Mapping)
            else region_from_json({"type": "polygon", "rings": mask})
        )
        return box_region(*shape.bounds_xyxy(), mask)
    except RegionError:
        return {"type": "polygon", "rings": mask}


def _mask(segmentation: Any, size_wh: tuple[int, int] | None) -> object:
    """Return a native mask: RLE, or rings. Several polygons are parts, which may overlap: their union."""
    if not isinstance(segmentation, list):
        return segmentation if isinstance(segmentation, Mapping) else None
    rings = [ring for ring in segmentation if isinstance(ring, list) and len(ring) >= 6]
    if len(rings) < 2 or size_wh is None:
        return rings or None
    try:
        parts = [region_from_json({"type": "polygon", "rings": [ring]}).raster(size_wh) for ring in rings]
    except RegionError:
        return rings
    return Mask.from_array(np.logical_or.reduce(parts)).to_rle()


COCO = Format("coco", "COCO instances, LVIS, Objects365", "annotations", _recognise, read)
