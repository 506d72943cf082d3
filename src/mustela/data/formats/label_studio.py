"""Label Studio's JSON export; regions are percentages of the picture's sides.

    [{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}, "annotations": [{"result": [
       {"type": "rectanglelabels", "original_width": 640, "original_height": 480,
        "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["dog"]}}]}]}]

Rectangles (turned ones become outlines), polygons, ellipses, key points and brush strokes (`rle`, Label
Studio's own packing). The first annotation that isn't cancelled counts; a task without one says nothing of
its picture and is left out. A picture is the last part of its address; what the export put before it
(`/data/upload/1/`, `/data/local-files/?d=`) or behind it (`?X-Amz-Signature=...`) is its server's. Of several
pictures, `to_name` says which one a result is for.
"""

from __future__ import annotations

import math
import re
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
_SHAPES = ("x", "points", "rle")
# One word with a scheme, or the name of a picture: a sentence with a slash is neither.
_ADDRESS = re.compile(
    r"\w+://\S+|[^\s?][^?\n]*\.(?:jpe?g|png|webp|bmp|gif|tiff?)(?:\?\S*)?|\S+\?d=.+", re.IGNORECASE
)


def _recognise(peek: Peek) -> str | None:
    for look in peek.of("json", "lines"):
        annotations = look.record.get("annotations")
        if "data" not in look.record or not isinstance(annotations, list):
            continue
        if not annotations or "result" in annotations[0]:
            return "tasks with 'data' and 'annotations' of results, as Label Studio exports"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture of a task with an annotation that isn't cancelled."""
    for item in stream_json(source.path):
        file = str(source.path)
        if item.fault is not None or not isinstance(item.value, Mapping):
            fault = item.fault or "the task is not an object"
            yield Found(file=file, line=item.line, fault=fault, last=item.last)
            continue
        try:
            scenes = list(_scenes(item.value))
        except RecordError as error:
            yield Found(file=file, line=item.line, fault=f"task {item.value.get('id')}: {error}")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            yield Found(file=file, line=item.line, fault=f"the task can't be read: {error!r}")
        else:
            yield from (Found(scene, file, item.line) for scene in scenes)


def _scenes(task: Mapping[str, Any]) -> Iterator[Scene]:
    results = _results(task)
    targets = list(dict.fromkeys(str(each["to_name"]) for each in results if _is_region(each, "to_name")))
    if len(targets) < 2:
        target = targets[0] if targets else None
        yield _scene(str(task.get("id", "")), _image(task["data"], target), results)
        return
    for target in targets:
        if not isinstance(task["data"].get(target), str):
            raise RecordError(
                f"its results are for {', '.join(targets)}, and 'data' has no {target!r}: which picture?"
                " Give the key in 'data' the name that the <Image> tag has"
            )
        own = [each for each in results if each.get("to_name") == target]
        yield _scene(f"{task.get('id', '')}:{target}", _image(task["data"], target), own)


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for annotation in task["annotations"]:
        if not annotation.get("was_cancelled"):
            return list(annotation["result"])
    raise RecordError(
        "it has no annotation that isn't cancelled, so nothing is known of its picture."
        " Annotate it, or leave it out of the export"
    )


def _is_region(result: Mapping[str, Any], *keys: str) -> bool:
    """Whether a result is a place in a picture, not a choice or a text, and has these keys."""
    value = result.get("value", {})
    place = "original_width" in result or any(shape in value for shape in _SHAPES)
    return place and all(key in result for key in keys)


def _scene(identity: str, image: str, results: Sequence[Mapping[str, Any]]) -> Scene:
    sizes = {(int(r["original_width"]), int(r["original_height"])) for r in results if "original_width" in r}
    things = [
        Thing(name, _sized_region(result))
        for result in results
        if _is_region(result)
        for name in _names(result["value"])
    ]
    captions = [
        Caption(text)
        for result in results
        if result.get("type") == "textarea"
        for text in result["value"].get("text", [])
    ]
    return Scene(identity, image, sizes.pop() if len(sizes) == 1 else None, tuple(things), tuple(captions))


def _sized_region(result: Mapping[str, Any]) -> dict[str, Any]:
    if "original_width" not in result:
        return {"type": "box", "xyxy": "missing: original_width"}  # reported later, with everything else
    return _region(result["value"], (int(result["original_width"]), int(result["original_height"])))


def _image(data: Mapping[str, Any], target: str | None) -> str:
    address = data[_image_key(data, target)].strip()
    local = address.rsplit("?d=", 1)
    name = unquote(local[1] if len(local) == 2 else address.split("?", 1)[0].rsplit("/", 1)[-1])
    if not name:
        raise RecordError(
            f"the picture's address {address!r} has no file name. Put the file's name into 'data'"
        )
    return name


def _image_key(data: Mapping[str, Any], target: str | None) -> str:
    """Return which entry of a task's data is the picture that results with this `to_name` mean."""
    pictures = [
        key
        for key, value in data.items()
        if isinstance(value, str) and not key.endswith("_id") and _ADDRESS.fullmatch(value.strip())
    ]
    for key in ((target or "").removeprefix("$"), "image"):
        if isinstance(data.get(key), str) and (key == "image" or key in pictures):
            return key
    likely = [key for key in pictures if "image" in key] if len(pictures) > 1 else pictures
    if len(likely) == 1:
        return likely[0]
    raise RecordError(
        f"'data' has the keys {', '.join(data) or 'none'}; which is the picture's address can't be told."
        " Call it 'image', or as the <Image> tag is called"
    )


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
        return ellipse_region((x, y), (value["radiusX"] * width, value["radiusY"] * height), angle)
    if "height" not in value:
        return {"type": "point", "xy": [x, y]}  # a key point; its width is the size of the dot
    w, h = value["width"] * width, value["height"] * height
    if angle == 0:
        return box_region(x, y, x + w, y + h)
    return polygon_region(turned([(0, 0), (w, 0), (w, h), (0, h)], (x, y), angle))


def ellipse_region(centre: tuple[float, float], radii: tuple[float, float], angle: float) -> dict[str, Any]:
    """Return an ellipse, turned clockwise about its centre by an angle in radians, as an outline."""
    steps = [2 * math.pi * step / 32 for step in range(32)]
    rim = [(radii[0] * math.cos(step), radii[1] * math.sin(step)) for step in steps]
    return polygon_region(turned(rim, centre, angle))


def turned(points: Sequence[tuple[float, float]], at: tuple[float, float], angle: float) -> list[float]:
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
