"""CVAT for images: one XML file for many pictures.

    <annotations><version>1.1</version>
      <image id="0" name="a.jpg" width="640" height="480">
        <box label="dog" xtl="10" ytl="20" xbr="200" ybr="180"><attribute name="colour">red</attribute></box>
        <polygon label="cat" points="10,10;50,10;50,60"/>
        <mask label="sky" rle="5, 2, 3" left="4" top="2" width="5" height="2"/>
      </image></annotations>

`points` become a point each, `polyline` a stroke; `mask` counts runs row by row within its box, beginning
outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region, polygon_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.xml_file import stream_elements
from mustela.errors import RecordError
from mustela.regions import Mask


def _recognise(peek: Peek) -> str | None:
    if any(look.root == "annotations" for look in peek.of("xml")):
        return "an XML file whose outermost tag is <annotations>, as CVAT writes"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture."""
    files = sorted(source.path.rglob("*.xml")) if source.path.is_dir() else [source.path]
    for file in files:
        for image in stream_elements(file, "image"):
            if source.split is not None and image.get("subset") not in (None, source.split):
                continue
            try:
                yield Found(_scene(image), str(file))
            except (ValueError, KeyError, TypeError) as error:
                yield Found(file=str(file), fault=f"image {image.get('name')!r}: {error!r}")


def _scene(image: ElementTree.Element) -> Scene:
    size = (int(image.attrib["width"]), int(image.attrib["height"]))
    things = [thing for shape in image for thing in _things(shape, size)]
    return Scene(image.get("id") or image.attrib["name"], image.attrib["name"], size, tuple(things))


def _things(shape: ElementTree.Element, size_wh: tuple[int, int]) -> Iterator[Thing]:
    get, label = shape.attrib, shape.get("label", "")
    attributes = tuple(
        each.text.strip() for each in shape.iter("attribute") if each.text and each.text.strip()
    )
    if shape.tag == "box":
        corners = [float(get[side]) for side in ("xtl", "ytl", "xbr", "ybr")]
        yield Thing(label, box_region(*corners), attributes=attributes)
    elif shape.tag == "mask":
        yield Thing(label, _mask(get, size_wh), attributes=attributes)
    elif shape.tag in ("polygon", "polyline", "points"):
        points = [[float(number) for number in pair.split(",")] for pair in get["points"].split(";")]
        if shape.tag == "polygon":
            yield Thing(
                label, polygon_region([value for point in points for value in point]), attributes=attributes
            )
        elif shape.tag == "polyline":
            yield Thing(label, {"type": "scribble", "points": points}, attributes=attributes)
        else:
            for point in points:
                yield Thing(label, {"type": "point", "xy": point}, attributes=attributes)


def _mask(get: dict[str, str], size_wh: tuple[int, int]) -> dict[str, object]:
    left, top, width, height = (int(float(get[key])) for key in ("left", "top", "width", "height"))
    runs = [int(run) for run in get["rle"].split(",")]
    if sum(runs) != width * height:
        raise RecordError(f"the runs of a mask fill {sum(runs)} pixels of {width} x {height}")
    inside = np.arange(len(runs)) % 2 == 1
    part = np.repeat(inside, runs).reshape(height, width)
    whole = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
    whole[top : top + height, left : left + width] = part[: size_wh[1] - top, : size_wh[0] - left]
    return box_region(left, top, left + width, top + height, Mask.from_array(whole).to_rle())


CVAT = Format("cvat", "CVAT for images XML", "annotations", _recognise, read, folders=True)
