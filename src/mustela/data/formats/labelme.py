"""LabelMe: one JSON file a picture.

    {"imagePath": "a.jpg", "imageWidth": 640, "imageHeight": 480, "flags": {},
     "shapes": [{"label": "dog", "shape_type": "polygon", "points": [[x, y], ...]}]}

Shapes: polygon, rectangle (two corners in any order), circle (centre and a point of the rim), point, line and
linestrip (strokes), and mask (a small picture with its box). Pictures inside the file (`imageData`) are left
there; the picture is `imagePath`.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import MustelaError, RecordError
from mustela.regions import Mask

_CIRCLE = 32


def _recognise(peek: Peek) -> str | None:
    if any("shapes" in look.record and "imagePath" in look.record for look in peek.of("object")):
        return "one JSON object a picture with 'shapes' and 'imagePath', as LabelMe writes"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each JSON file."""
    files = sorted(source.path.rglob("*.json")) if source.path.is_dir() else [source.path]
    for file in files:
        faults: list[str] = []
        try:
            value = json.loads(file.read_text(encoding="utf-8-sig"))
            scene = _scene(value, file, faults) if isinstance(value, Mapping) and "shapes" in value else None
        except (ValueError, KeyError, TypeError) as error:
            yield Found(file=str(file), fault=f"not a LabelMe file: {error!r}")
            continue
        yield from (Found(file=str(file), line=1, fault=fault) for fault in faults)
        if scene is not None:
            yield Found(scene, str(file), 1)


def _scene(value: Mapping[str, Any], file: Path, faults: list[str]) -> Scene:
    """Return a file's scene; shapes that can't be used are left out of it and added to `faults`."""
    width, height = value.get("imageWidth"), value.get("imageHeight")
    size = (int(width), int(height)) if width and height else None
    things: list[Thing] = []
    unused: set[str | None] = set()
    for number, shape in enumerate(value["shapes"]):
        try:
            things.append(Thing(str(shape["label"]), _region(shape, size)))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            label = shape.get("label") if isinstance(shape, Mapping) else None
            unused.add(None if label is None else str(label))
            reason = error if isinstance(error, MustelaError) else f"it can't be read: {error!r}"
            faults.append(f"shapes[{number}] ({label!r}): {reason}. Correct the shape, or leave it out")
    # A shape without a label may be an object of any name.
    known = None not in unused
    return Scene(
        id=file.stem,
        # Windows' LabelMe writes its own separators, and paths may lead out of the annotations' folder.
        image=str(value["imagePath"]).replace("\\", "/").removeprefix("../"),
        size_wh=size,
        things=tuple(things),
        partial=frozenset(label for label in unused if label is not None),
        exhaustive=known,
        complete=known,
    )


def _points(shape: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = shape.get("points")
    if not isinstance(points, list) or not points:
        raise RecordError(f"points is {points!r}; it is a list of points [x, y]")
    for point in points:
        numbers = isinstance(point, list) and len(point) == 2
        if not numbers or not all(isinstance(value, int | float) and math.isfinite(value) for value in point):
            raise RecordError(f"a point is {point!r}; it is [x, y]")
    return [(float(x), float(y)) for x, y in points]


def _region(shape: Mapping[str, Any], size_wh: tuple[int, int] | None) -> dict[str, Any]:
    kind, points = shape.get("shape_type", "polygon"), _points(shape)
    flat = [value for point in points for value in point]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if kind == "point":
        return {"type": "point", "xy": flat}
    if kind in ("line", "linestrip"):
        return {"type": "scribble", "points": [list(point) for point in points]}
    if kind == "circle":
        if len(points) != 2:
            raise RecordError(f"a circle has {len(points)} points; it has its centre and one of the rim")
        (x, y), (rim_x, rim_y) = points
        radius = math.hypot(rim_x - x, rim_y - y)
        angles = [2 * math.pi * step / _CIRCLE for step in range(_CIRCLE)]
        return polygon_region(
            [value for a in angles for value in (x + radius * math.cos(a), y + radius * math.sin(a))]
        )
    if kind == "mask" and shape.get("mask") and size_wh is not None:
        mask = _mask(shape["mask"], (min(xs), min(ys)), size_wh)
        return box_region(min(xs), min(ys), max(xs) + 1, max(ys) + 1, mask)
    if kind == "rectangle" or len(points) == 2:
        return box_region(min(xs), min(ys), max(xs), max(ys))
    return polygon_region(flat) if len(flat) >= 6 else {"type": "polygon", "rings": [flat]}


def _mask(picture: str, corner: tuple[float, float], size_wh: tuple[int, int]) -> dict[str, object] | None:
    try:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
            part = np.asarray(opened.convert("L")) > 0
    except (OSError, binascii.Error) as error:
        raise RecordError(f"its mask can't be read: {error}") from error
    return cut_mask(part, (math.floor(corner[0]), math.floor(corner[1])), size_wh)


def cut_mask(
    part: npt.NDArray[np.bool_], corner: tuple[int, int], size_wh: tuple[int, int]
) -> dict[str, object] | None:
    """Return what lies inside a picture of a mask whose upper left pixel is at `corner`, as RLE.

    None if nothing of it does: its box says where it is, and is reported with the others that lie outside.
    """
    (left, top), (height, width) = corner, part.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, size_wh[0]), min(top + height, size_wh[1])
    if x1 >= x2 or y1 >= y2:
        return None
    whole = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
    whole[y1:y2, x1:x2] = part[y1 - top : y2 - top, x1 - left : x2 - left]
    return Mask.from_array(whole).to_rle()


LABELME = Format("labelme", "LabelMe JSON", "annotations", _recognise, read, folders=True)
