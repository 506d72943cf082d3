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
from PIL import Image

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError
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
        try:
            value = json.loads(file.read_text(encoding="utf-8-sig"))
            if isinstance(value, Mapping) and "shapes" in value:
                yield Found(_scene(value, file), str(file), 1)
        except (ValueError, KeyError, TypeError) as error:
            yield Found(file=str(file), fault=f"not a LabelMe file: {error!r}")


def _scene(value: Mapping[str, Any], file: Path) -> Scene:
    width, height = value.get("imageWidth"), value.get("imageHeight")
    size = (int(width), int(height)) if width and height else None
    return Scene(
        id=file.stem,
        # Windows' LabelMe writes its own separators, and paths may lead out of the annotations' folder.
        image=str(value["imagePath"]).replace("\\", "/").removeprefix("../"),
        size_wh=size,
        things=tuple(Thing(str(shape["label"]), _region(shape, size)) for shape in value["shapes"]),
    )


def _region(shape: Mapping[str, Any], size_wh: tuple[int, int] | None) -> dict[str, Any]:
    kind, points = shape.get("shape_type", "polygon"), [(float(x), float(y)) for x, y in shape["points"]]
    flat = [value for point in points for value in point]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if kind == "point":
        return {"type": "point", "xy": flat}
    if kind in ("line", "linestrip"):
        return {"type": "scribble", "points": [list(point) for point in points]}
    if kind == "circle":
        (x, y), (rim_x, rim_y) = points
        radius = math.hypot(rim_x - x, rim_y - y)
        angles = [2 * math.pi * step / _CIRCLE for step in range(_CIRCLE)]
        return polygon_region(
            [value for a in angles for value in (x + radius * math.cos(a), y + radius * math.sin(a))]
        )
    if kind == "mask" and shape.get("mask") and size_wh is not None:
        return box_region(
            min(xs), min(ys), max(xs) + 1, max(ys) + 1, _mask(shape["mask"], points[0], size_wh)
        )
    if kind == "rectangle" or len(points) == 2:
        return box_region(min(xs), min(ys), max(xs), max(ys))
    return polygon_region(flat) if len(flat) >= 6 else {"type": "polygon", "rings": [flat]}


def _mask(picture: str, corner: tuple[float, float], size_wh: tuple[int, int]) -> dict[str, object]:
    try:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
            part = np.asarray(opened.convert("L")) > 0
    except (OSError, binascii.Error) as error:
        raise RecordError(f"a mask can't be read: {error}") from error
    whole = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
    left, top = max(int(corner[0]), 0), max(int(corner[1]), 0)
    fitting = part[: whole.shape[0] - top, : whole.shape[1] - left]
    whole[top : top + fitting.shape[0], left : left + fitting.shape[1]] = fitting
    return Mask.from_array(whole).to_rle()


LABELME = Format("labelme", "LabelMe JSON", "annotations", _recognise, read, folders=True)
