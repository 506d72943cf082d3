"""Pascal VOC: one XML file a picture.

    <annotation><filename>a.jpg</filename><size><width>640</width><height>480</height></size>
      <object><name>dog</name><difficult>0</difficult>
        <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>200</xmax><ymax>180</ymax></bndbox></object></annotation>

VOC counts pixels from 1 and both corners are part of the box, so (11, 21, 200, 180) is [10, 20, 200, 180].
A split is a text file of that name with one picture's name a line, in the folder or beside it; the
lists of a class have 1, 0 or -1 behind each name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from xml.etree import ElementTree

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.xml_file import child_number, child_text, stream_elements
from mustela.errors import RecordError

_SUFFIX = re.compile(r"\.(?:jpe?g|png|webp|bmp|tiff?|gif|xml)$", re.IGNORECASE)
_CLASS_MARK = re.compile(r"\s+(?:-1|0|1)$")
_CLASS_LIST = re.compile(r"\s-1$|\s{2,}[01]$")


def _recognise(peek: Peek) -> str | None:
    if any(look.root == "annotation" for look in peek.of("xml")):
        return "XML files whose outermost tag is <annotation>, as in Pascal VOC"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each XML file."""
    files = sorted(source.path.rglob("*.xml")) if source.path.is_dir() else [source.path]
    wanted = None if source.split is None else read_split(source)
    if wanted is not None:
        yield from missing_of_split(source, wanted, {file.stem for file in files})
    for file in files:
        if wanted is not None and file.stem not in wanted:
            continue
        try:
            for annotation in stream_elements(file, "annotation"):
                yield Found(_scene(annotation, file), str(file), 1)
        except RecordError as error:
            yield Found(file=str(file), fault=str(error))


def read_split(source: Source) -> set[str]:
    """Return the names of a split: the lines of its text file, without folders and suffixes of pictures.

    Raises:
        RecordError: there is no such file; lists those that are there.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    found = sorted([*root.rglob("*.txt"), *root.parent.glob("*.txt"), *root.parent.glob("*/*.txt")])
    files = [file for file in found if file.stem == source.split]
    if not files:
        known = ", ".join(sorted({file.stem for file in found})) or "none"
        raise RecordError(f"{root}: no file {source.split}.txt for the split. Text files there: {known}.")
    try:
        lines = files[0].read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordError(f"{files[0]}: not UTF-8: {error}. Save the file as UTF-8.") from error
    there = {file.stem for file in root.rglob("*.xml")}
    return {_split_name(line.strip(), there) for line in lines if line.strip()}


def _split_name(line: str, there: set[str]) -> str:
    """Return the name that a line means: all of it, unless only a part of it has a file."""
    # The lists of a class have 1, 0 or -1 behind every name.
    parts = [PurePath(part).name for part in (line, _CLASS_MARK.sub("", line))]
    names = [name for part in parts for name in (part, _SUFFIX.sub("", part))]
    # Without a file, "a -1" and "a  1" are of such a list; "img 1" may be a name.
    missing = names[3] if _CLASS_LIST.search(line) else names[1]
    return next((name for name in names if name in there), missing)


def missing_of_split(source: Source, wanted: set[str], there: set[str]) -> Iterator[Found]:
    """Yield a fault for each name of a split that has no file."""
    for name in sorted(wanted - there):
        fault = f"the split {source.split!r} names {name!r}, but there is no {name}.xml; add it"
        yield Found(file=str(source.path), fault=fault)


def _scene(annotation: ElementTree.Element, file: Path) -> Scene:
    width, height = child_number(annotation, "size/width"), child_number(annotation, "size/height")
    return Scene(
        id=file.stem,
        image=child_text(annotation, "filename") or file.stem + ".jpg",
        # Some tools write a size of 0 x 0 when they don't know it.
        size_wh=(int(width), int(height)) if width and height else None,
        things=tuple(_thing(element) for element in annotation.iter("object")),
    )


def _thing(element: ElementTree.Element) -> Thing:
    x1, y1, x2, y2 = (child_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    name = child_text(element, "name")
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return Thing(name, {"type": "box", "xyxy": [x1, y1, x2, y2]})
    # Files that count from 0 have corners of 0, which VOC can't have.
    return Thing(name, box_region(max(x1 - 1, 0), max(y1 - 1, 0), x2, y2))


VOC = Format("voc", "Pascal VOC XML", "annotations", _recognise, read, folders=True)
