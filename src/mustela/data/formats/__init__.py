"""File formats of annotated pictures: one module each, all giving native records or scenes.

A format is named, or recognised from what the files hold and never from their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mustela.data.formats.chat import CHAT
from mustela.data.formats.coco import COCO
from mustela.data.formats.cvat import CVAT
from mustela.data.formats.flickr30k import FLICKR30K
from mustela.data.formats.grit import GRIT
from mustela.data.formats.label_studio import LABEL_STUDIO
from mustela.data.formats.labelme import LABELME
from mustela.data.formats.native_json import FERRET, LLAVA
from mustela.data.formats.osprey import OSPREY
from mustela.data.formats.peek import peek
from mustela.data.formats.refcoco import REFCOCO
from mustela.data.formats.scene import Caption, Relation, Scene, Thing
from mustela.data.formats.shikra import SHIKRA
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.swift import SWIFT
from mustela.data.formats.tabular import TABLE
from mustela.data.formats.visual_genome import VISUAL_GENOME
from mustela.data.formats.voc import VOC
from mustela.data.formats.webdataset import WEBDATASET
from mustela.data.formats.yolo import YOLO
from mustela.errors import ConfigError, RecordError

__all__ = [
    "FORMATS",
    "Caption",
    "Format",
    "Found",
    "Recognised",
    "Relation",
    "Scene",
    "Source",
    "Thing",
    "get_format",
    "recognise",
]

# The order matters where one format's files are another's with something more.
FORMATS: Final[Mapping[str, Format]] = {
    each.name: each
    for each in (
        OSPREY, SHIKRA, FERRET, LLAVA, SWIFT, CHAT,
        REFCOCO, COCO, LABELME, LABEL_STUDIO, VISUAL_GENOME,
        FLICKR30K, CVAT, VOC, YOLO,
        GRIT, TABLE, WEBDATASET,
    )
}  # fmt: skip
"""All formats by name."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format, and the sentence that says why it is taken for the file's."""

    format: Format
    because: str


def get_format(name: str) -> Format:
    """Return a format by its name; an unknown one is a `ConfigError` that lists all."""
    if name not in FORMATS:
        raise ConfigError(f"data_format is {name!r}. Choose auto or one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def recognise(path: str | Path) -> Recognised:
    """Return the format of a file or folder by what it holds.

    Raises:
        RecordError: it can't be read, or looks like no format; says what was seen.
    """
    look = peek(path)
    for each in FORMATS.values():
        because = each.recognise(look) if each.folders or look.kind != "folder" else None
        if because is not None:
            return Recognised(each, f"{path} is read as {each.title}: {because}.")
    keys = ", ".join(map(repr, list(look.record)[:8]))
    seen = f"the first value has the keys {keys}" if keys else f"it is {look.kind}"
    raise RecordError(f"{path}: no format is recognised ({seen}). Name one of: {', '.join(FORMATS)}.")
