"""Label Studio's JSON export; regions are percentages of the picture's sides.

    [{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}, "annotations": [{"result": [
       {"type": "rectanglelabels", "original_width": 640, "original_height": 480,
        "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["dog"]}}]}]}]

Rectangles (turned ones become outlines), polygons, ellipses, key points and brush strokes (`rle`, Label
Studio's own packing). Cancelled annotations are left out. A picture is the last part of its address; what the
export put before it (`/data/upload/1/`, `/data/local-files/?d=`) is its server's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Caption, Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.json_stream import stream_json
from mustela.errors import RecordError
from mustela.regions import Mask

_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "labels")


def _recognise(peek: Peek) -> str | None:
    for look in peek.of("json", "lines"):
        annotations = look.record.get("annotations")
        if "data" not in look.record or not isinstance(annotations, list):
            continue
        if not annotations or "result" in annotations[0]:
            return "tasks with 'data' and 'annotations' of results, as Label Studio exports"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each task with an annotation that isn't cancelled."""
    for item in stream_json(source.path):
        file = str(source.path)
        if item.fault is not None or not isinstance(item.value, Mapping):
            fault = item.fault or "the task is not an object"
            yield Found(file=file, line=item.line, fault=fault, last=item.last)
            continue
        try:
            yield Found(_scene(item.value), file, item.line)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            yield Found(file=file, line=item.line, fault=f"the task can't be read: {error!r}")


def _scene(task: Mapping[str, Any]) -> Scene:
    results = [
        result
        for annotation in task["annotations"][:1]
        if not annotation.get("was_cancelled")
        for result in annotation["result"]
    ]
    sizes = {(int(r["original_width"]), int(r["original_height"])) for r in results if "original_width" in r}
    size = sizes.pop() if len(sizes) == 1 else None
    things = [
        Thing(name, _region(result["value"], (int(result["original_width"]), int(result["original_height"]))))
        for result in results
        if "original_width" in result
        for name in _names(result["value"])
    ]
    captions = [
        Caption(text)
        for result in results
        if result.get("type") == "textarea"
        for text in result["value"].get("text", [])
    ]
    return Scene(str(task.get("id", "")), _image(task["data"]), size, tuple(things), tuple(captions))


def _image(data: Mapping[str, Any]) -> str:
    address = next(
        value for key, value in data.items() if isinstance(value, str) and ("image" in key or "/" in value)
    )
    name = address.rsplit("?d=", 1)[-1]
    return unquote(name if "?d=" in address else name.rsplit("/", 1)[-1])


def _names(value: Mapping[str, Any]) -> Sequence[str]:
    return next((value[key] for key in _LABELS if key in value), [])


def _region(value: Mapping[str, Any], size_wh: tuple[int, int]) -> dict[str, Any]:
    width, height = size_wh[0] / 100, size_wh[1] / 100
    if "points" in value:
        return polygon_region([number for x, y in value["points"] for number in (x * width, y * height)])
    if "rle" in value:
        mask = Mask.from_array(unpack_brush(bytes(value["rle"]), size_wh))
        return box_region(*mask.bounds_xyxy(), mask.to_rle())
    x, y = value["x"] * width, value["y"] * height
    angle = math.radians(value.get("rotation", 0))
    if "radiusX" in value:
        steps = [2 * math.pi * step / 32 for step in range(32)]
        rim = [
            (value["radiusX"] * width * math.cos(a), value["radiusY"] * height * math.sin(a)) for a in steps
        ]
        return polygon_region(_turned(rim, (x, y), angle))
    if "height" not in value:
        return {"type": "point", "xy": [x, y]}  # a key point; its width is the size of the dot
    w, h = value["width"] * width, value["height"] * height
    if angle == 0:
        return box_region(x, y, x + w, y + h)
    return polygon_region(_turned([(0, 0), (w, 0), (w, h), (0, h)], (x, y), angle))


def _turned(points: Sequence[tuple[float, float]], at: tuple[float, float], angle: float) -> list[float]:
    """Turn offsets clockwise (y points down) and put them at a place."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [value for x, y in points for value in (at[0] + x * cos - y * sin, at[1] + x * sin + y * cos)]


def unpack_brush(packed: bytes, size_wh: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the (H, W) mask of a brush result.

    The packing: 32 bits of length, 5 bits of word size - 1, four times 4 bits of run size - 1; then blocks: a
    bit that says whether one value is repeated, 2 bits that choose a run size, the run length - 1, and one
    value or all of them. Values are RGBA bytes by row; alpha is what counts.

    Raises:
        RecordError: cut off, or of another size.
    """
    bits = _Bits(packed)
    length, word = bits.take(32), bits.take(5) + 1
    runs = [bits.take(4) + 1 for _ in range(4)]
    if length != size_wh[0] * size_wh[1] * 4:
        raise RecordError(f"a brush of {length} bytes doesn't fit a picture of {size_wh[0]} x {size_wh[1]}")
    values = np.zeros(length, dtype=np.uint8)
    position = 0
    while position < length:
        repeated = bits.take(1)
        end = min(position + bits.take(runs[bits.take(2)]) + 1, length)
        if repeated:
            values[position:end] = bits.take(word)
        else:
            values[position:end] = [bits.take(word) for _ in range(end - position)]
        position = end
    return np.ascontiguousarray(values.reshape(size_wh[1], size_wh[0], 4)[:, :, 3] > 0)


class _Bits:
    """Reads numbers of any width from bytes, the highest bit first."""

    def __init__(self, packed: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).tolist()
        self._position = 0

    def take(self, count: int) -> int:
        part = self._bits[self._position : self._position + count]
        if len(part) < count:
            raise RecordError("a brush is cut off")
        self._position += count
        number = 0
        for bit in part:
            number = number << 1 | bit
        return number


LABEL_STUDIO = Format("label_studio", "Label Studio JSON", "annotations", _recognise, read)
