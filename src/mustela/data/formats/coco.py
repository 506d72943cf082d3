"""COCO instances, and what is built on it: LVIS and Objects365.

    {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "categories": [{"id": 18, "name": "dog"}],
     "annotations": [{"id": 7, "image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "segmentation": [[x1, y1, x2, y2, ...]], "iscrowd": 0}]}

`segmentation` may be polygons (several are parts of one object), or RLE, compressed or not. Captions of COCO
(`{"image_id": 1, "caption": "..."}`) are read too. LVIS names pictures by `coco_url` and says per picture
which categories are absent (`neg_category_ids`) and which incomplete (`not_exhaustive_category_ids`).
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
    """Yield a scene for each picture, those without objects included."""
    images: dict[Any, dict[str, Any]] = {}
    names: dict[Any, str] = {}
    with Spool() as spool:
        for key, item in stream_members(source.path):
            value = item.value
            if key not in ("images", "categories", "annotations"):
                continue
            if not isinstance(value, Mapping):
                raise RecordError(f"{source.path}:{item.line}: an entry of {key!r} is not an object.")
            if key == "images":
                images[_need(value, "id", source, item.line)] = {**value, "line": item.line}
            elif key == "categories":
                names[_need(value, "id", source, item.line)] = str(value.get("name", value["id"]))
            else:
                spool.add(_need(value, "image_id", source, item.line), value)
        lvis = any("neg_category_ids" in image for image in images.values())
        for number, image in images.items():
            annotations = spool.get(number)
            yield Found(_scene(image, annotations, names, lvis=lvis), str(source.path), image["line"])


def _need(value: Mapping[str, Any], key: str, source: Source, line: int) -> Any:
    if key not in value:
        raise RecordError(f"{source.path}:{line}: an entry has no {key!r}. Repair the file.")
    return value[key]


def _scene(
    image: Mapping[str, Any], annotations: list[Any], names: Mapping[Any, str], *, lvis: bool
) -> Scene:
    size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
    # LVIS gives no file name; the last two parts of the address are split and name, as on disk.
    path = str(image.get("file_name") or "/".join(str(image.get("coco_url", "")).rsplit("/", 2)[-2:]))
    return Scene(
        id=str(image["id"]),
        image=path,
        size_wh=size,
        things=tuple(
            thing_of(each, names.get(each.get("category_id"), str(each.get("category_id"))), size)
            for each in annotations
            if "bbox" in each or each.get("segmentation")
        ),
        captions=tuple(Caption(str(each["caption"])) for each in annotations if "caption" in each),
        absent=_names(image.get("neg_category_ids", ()), names),
        partial=_names(image.get("not_exhaustive_category_ids", ()), names),
        # LVIS is annotated category by category: what isn't listed may be there all the same.
        complete=not lvis,
    )


def _names(numbers: Sequence[Any], names: Mapping[Any, str]) -> frozenset[str]:
    return frozenset(names[number] for number in numbers if number in names)


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
