"""Flickr30k Entities: sentences with marked phrases, and the boxes of the phrases in XML.

    Sentences/123.txt:    [/EN#283585/people Two young guys] with [/EN#283587/bodyparts shaggy hair] look up .
    Annotations/123.xml:  <annotation><filename>123.jpg</filename><size>...</size>
                            <object><name>283585</name><bndbox>...</bndbox></object></annotation>

A phrase can have several boxes or none. Boxes count pixels from 1 with both corners inside, as in VOC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Caption, Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.voc import missing_of_split, read_split
from mustela.data.formats.xml_file import child_number, child_text, stream_elements
from mustela.errors import RecordError

_ENTITY = re.compile(r"\[/EN#(\d+)((?:/\w+)+) ([^\]]*)\]")


def _recognise(look: Peek) -> str | None:
    if any(_ENTITY.search(each.text) for each in look.of("text")):
        return "sentences with phrases like [/EN#1/people two guys], as in Flickr30k Entities"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each picture that has sentences."""
    if not source.path.is_dir():
        raise RecordError(f"{source.path}: for Flickr30k Entities, name the folder of sentences and XML.")
    xml = {file.stem: file for file in source.path.rglob("*.xml")}
    wanted = None if source.split is None else read_split(source)
    if wanted is not None:
        yield from missing_of_split(source, wanted, set(xml))
    for file in sorted(source.path.rglob("*.txt")):
        if wanted is not None and file.stem not in wanted:
            continue
        text = file.read_text(encoding="utf-8")
        if not _ENTITY.search(text):
            continue
        if file.stem not in xml:
            yield Found(file=str(file), fault=f"no {file.stem}.xml with the boxes of its phrases")
            continue
        try:
            for annotation in stream_elements(xml[file.stem], "annotation"):
                yield Found(_scene(file.stem, text, annotation), str(file), 1)
        except RecordError as error:
            yield Found(file=str(xml[file.stem]), fault=str(error))


def _scene(name: str, text: str, annotation: ElementTree.Element) -> Scene:
    boxes: dict[str, list[Mapping[str, Any]]] = {}
    for element in annotation.iter("object"):
        sides = [child_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        corners = [side for side in sides if side is not None]
        if len(corners) == 4:
            box = box_region(max(corners[0] - 1, 0), max(corners[1] - 1, 0), corners[2], corners[3])
            for entity in element.findall("name"):
                boxes.setdefault((entity.text or "").strip(), []).append(box)
    phrases: dict[str, list[str]] = {}
    for found in _ENTITY.finditer(text):
        phrases.setdefault(found[1], []).append(found[3])
    width, height = child_number(annotation, "size/width"), child_number(annotation, "size/height")
    return Scene(
        name,
        child_text(annotation, "filename") or name + ".jpg",
        (int(width), int(height)) if width and height else None,
        tuple(
            Thing("", boxes[entity][0], phrases=tuple(dict.fromkeys(of_entity)))
            for entity, of_entity in phrases.items()
            # Only one box is what the phrase alone means.
            if len(boxes.get(entity, ())) == 1
        ),
        tuple(_caption(line.strip(), boxes) for line in text.splitlines() if line.strip()),
        exhaustive=False,
        complete=False,
    )


def _caption(line: str, boxes: Mapping[str, list[Mapping[str, Any]]]) -> Caption:
    regions: list[Mapping[str, Any]] = []

    def mark(entity: re.Match[str]) -> str:
        places = []
        for box in boxes.get(entity[1], ()):
            places.append(f" <bbox_location{len(regions)}>")
            regions.append(box)
        return entity[3] + "".join(places)

    return Caption(re.sub(r" ([.,;:!?])(?=\s|$)", r"\1", _ENTITY.sub(mark, line)), tuple(regions))


FLICKR30K = Format("flickr30k", "Flickr30k Entities", "annotations", _recognise, read, folders=True)
