"""CVAT for images: one XML file for many pictures.

    <annotations><version>1.1</version>
      <image id="0" name="a.jpg" width="640" height="480">
        <box label="dog" xtl="10" ytl="20" xbr="200" ybr="180"><attribute name="colour">red</attribute></box>
        <polygon label="cat" points="10,10;50,10;50,60"/>
        <mask label="sky" rle="5, 2, 3" left="4" top="2" width="5" height="2"/>
      </image></annotations>

`points` become a point each, `polyline` a stroke; an `ellipse` and a box with a `rotation` (degrees clockwise
about its centre) become outlines. `mask` counts runs row by row within its box, beginning outside. Cuboids,
skeletons and other shapes are reported: their names aren't asked for in that picture, nor are those of tags.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mustela.data.formats.label_studio import ellipse_region, turned
from mustela.data.formats.labelme import cut_mask
from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.xml_file import stream_elements
from mustela.errors import RecordError


def _recognise(peek: Peek) -> str | None:
    if any(look.root == "annotations" for look in peek.of("xml")):
        return "an XML file whose outermost tag is <annotations>, as CVAT writes"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture.

    Raises:
        RecordError: not XML, or a video's tracks; names the file.
    """
    files = sorted(source.path.rglob("*.xml")) if source.path.is_dir() else [source.path]
    for file in files:
        images = 0
        for image in stream_elements(file, "image"):
            images += 1
            if source.split is not None and image.get("subset") not in (None, source.split):
                continue
            try:
                yield Found(_scene(image), str(file))
            except RecordError as error:
                yield Found(file=str(file), fault=f"image {image.get('name')!r}: {error}")
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                yield Found(file=str(file), fault=f"image {image.get('name')!r}: {error!r}")
        if not images and next(stream_elements(file, "track"), None) is not None:
            raise RecordError(
                f"{file}: it holds the tracks of a video and no pictures. Export the task from CVAT again, as"
                " 'CVAT for images 1.1'."
            )


def _scene(image: ElementTree.Element) -> Scene:
    width, height = _numbers(image, "width", "height")
    size = (int(width), int(height))
    name = _value(image, "name")
    things = [thing for shape in image if shape.tag != "tag" for thing in _things(shape, size)]
    # A tag says that something is in the picture, not where.
    tags = frozenset(tag.get("label", "") for tag in image.iter("tag"))
    return Scene(image.get("id") or name, name, size, tuple(things), partial=tags)


def _value(element: ElementTree.Element, key: str) -> str:
    found = element.get(key)
    if found is None:
        label = f" label={element.get('label')!r}" if element.get("label") is not None else ""
        raise RecordError(f"<{element.tag}{label}> has no {key}. Repair the file, or export it again")
    return found


def _numbers(element: ElementTree.Element, *keys: str) -> list[float]:
    numbers = []
    for key in keys:
        text = _value(element, key)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RecordError(f"{key} of <{element.tag}> is {text!r}. It is a number; repair the file")
        numbers.append(number)
    return numbers


def _things(shape: ElementTree.Element, size_wh: tuple[int, int]) -> Iterator[Thing]:
    label = shape.get("label", "")
    attributes = tuple(
        each.text.strip() for each in shape.iter("attribute") if each.text and each.text.strip()
    )
    for region in _regions(shape, size_wh):
        yield Thing(label, region, attributes=attributes)


def _regions(shape: ElementTree.Element, size_wh: tuple[int, int]) -> list[dict[str, Any]]:
    if shape.tag == "box":
        return [_box(shape)]
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = _numbers(shape, "cx", "cy", "rx", "ry")
        return [ellipse_region((x, y), (radius_x, radius_y), _angle(shape))]
    if shape.tag == "mask":
        return [_mask(shape, size_wh)]
    if shape.tag == "polygon":
        return [polygon_region([value for point in _points(shape) for value in point])]
    if shape.tag == "polyline":
        return [{"type": "scribble", "points": _points(shape)}]
    if shape.tag == "points":
        return [{"type": "point", "xy": point} for point in _points(shape)]
    return [{"type": shape.tag}]  # a cuboid, a skeleton: reported later, with everything else


def _angle(shape: ElementTree.Element) -> float:
    return math.radians(_numbers(shape, "rotation")[0]) if "rotation" in shape.attrib else 0


def _box(shape: ElementTree.Element) -> dict[str, Any]:
    x1, y1, x2, y2 = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    angle = _angle(shape)
    if angle == 0:
        return box_region(x1, y1, x2, y2)
    x, y = (x2 - x1) / 2, (y2 - y1) / 2
    return polygon_region(turned([(-x, -y), (x, -y), (x, y), (-x, y)], (x1 + x, y1 + y), angle))


def _points(shape: ElementTree.Element) -> list[list[float]]:
    text = _value(shape, "points")
    try:
        points = [[float(number) for number in pair.split(",")] for pair in text.split(";")]
    except ValueError:
        points = []
    if not points or any(len(point) != 2 for point in points):
        raise RecordError(f"points of <{shape.tag}> is {text[:60]!r}. It is x,y;x,y;...; repair the file")
    return points


def _mask(shape: ElementTree.Element, size_wh: tuple[int, int]) -> dict[str, Any]:
    left, top, width, height = (int(number) for number in _numbers(shape, "left", "top", "width", "height"))
    try:
        runs = [int(run) for run in _value(shape, "rle").split(",")]
    except ValueError:
        runs = [-1]
    if min(runs) < 0:
        raise RecordError("the rle of a <mask> has an entry that is no count of pixels. Export it again")
    if sum(runs) != width * height:
        raise RecordError(
            f"the runs of a <mask> fill {sum(runs)} pixels of {width} x {height}. Export it again"
        )
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return box_region(left, top, left + width, top + height, cut_mask(part, (left, top), size_wh))


CVAT = Format("cvat", "CVAT for images XML", "annotations", _recognise, read, folders=True)
