"""Scenes whose regions were checked: each lies in its picture, what doesn't was left out and counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.check import CheckOptions
from mustela.data.check_images import frame_of
from mustela.data.check_regions import RegionReader
from mustela.data.check_turns import check_unicode
from mustela.data.faults import Fault, FaultLog
from mustela.data.formats.scene import Relation, Scene
from mustela.data.image_folder import ImageFolder
from mustela.data.record import ImageRef, RegionAnnotation
from mustela.regions import Box, Mask, Polygon

_PLACEHOLDER = re.compile(f"{LOCATION_PATTERN}|{re.escape(IMAGE_PLACEHOLDER)}")


@dataclass(frozen=True, slots=True)
class PlacedThing:
    """An object with a region in pixels of its picture."""

    name: str
    annotation: RegionAnnotation
    phrases: tuple[str, ...]
    attributes: tuple[str, ...]

    @property
    def box(self) -> Box | None:
        """Its box; None for points and strokes, which have none."""
        region = self.annotation.region
        if isinstance(region, Box):
            return region
        return Box(*region.bounds_xyxy()) if isinstance(region, Polygon | Mask) else None


@dataclass(frozen=True, slots=True)
class PlacedCaption:
    """A sentence with its regions."""

    text: str
    regions: tuple[RegionAnnotation, ...]


@dataclass(frozen=True, slots=True)
class PlacedScene:
    """A scene as `mustela.data.formats.scene.Scene` has it, checked; names with crowds are in `partial`."""

    id: str
    image: ImageRef
    things: tuple[PlacedThing, ...]
    captions: tuple[PlacedCaption, ...]
    relations: tuple[Relation, ...]
    absent: frozenset[str]
    partial: frozenset[str]
    exhaustive: bool
    complete: bool


def place_scene(
    scene: Scene,
    options: CheckOptions,
    *,
    folder: ImageFolder | None,
    names: Mapping[str, str],
    file: str,
    line: int | None,
) -> tuple[PlacedScene | None, list[Fault]]:
    """Check a scene; None if its picture can't be used.

    An object that can't be used is left out, and its name becomes partial: not all of its objects are known.

    Args:
        scene: what a reader found.
        options: how to check.
        folder: where the pictures lie.
        names: other words for names; a name that isn't there is used with blanks for underscores.
        file: the data file, for the faults.
        line: where in it.
    """
    log = FaultLog(file, line, scene.id)
    check_unicode(scene.image, log, field="image")
    frame = frame_of(scene.image, scene.size_wh, folder=folder, size_policy=options.size_policy, log=log)
    if log.has_errors:
        return None, log.faults
    reader = RegionReader([frame], "xyxy", log)
    things: list[PlacedThing] = []
    places: dict[int, int] = {}
    partial = {_word(name, names) for name in scene.partial}
    for number, thing in enumerate(scene.things):
        name = _word(thing.name, names)
        placed = _place(reader, thing.region)
        if placed is None or thing.crowd:
            partial.add(name)
            continue
        places[number] = len(things)
        phrases = tuple(_plain(text).rstrip(".。 ") for text in thing.phrases if _plain(text))
        attributes = tuple(_plain(text) for text in thing.attributes)
        things.append(PlacedThing(name, placed, phrases, attributes))
    captions = []
    for caption in scene.captions:
        regions = [_place(reader, region) for region in caption.regions]
        complete = tuple(region for region in regions if region is not None)
        # Only a caption with regions has placeholders that mean them.
        text = caption.text.replace(IMAGE_PLACEHOLDER, " ").strip() if regions else _plain(caption.text)
        if len(complete) == len(regions) and text:
            captions.append(PlacedCaption(text, complete))
    relations = [
        Relation(places[each.subject], _plain(each.predicate), places[each.object])
        for each in scene.relations
        if each.subject in places and each.object in places
    ]
    return PlacedScene(
        scene.id,
        ImageRef(scene.image, frame.size_wh),
        tuple(things),
        tuple(captions),
        tuple(relations),
        frozenset(_word(name, names) for name in scene.absent),
        frozenset(partial),
        scene.exhaustive,
        scene.complete,
    ), log.faults


def _place(reader: RegionReader, region: Mapping[str, Any]) -> RegionAnnotation | None:
    (placed,) = reader.objects([[dict(region)]], 1)
    return placed[0] if placed else None


def _word(name: str, names: Mapping[str, str]) -> str:
    return names.get(name) or " ".join(_plain(name).replace("_", " ").split())


def _plain(text: str) -> str:
    """Return a text in which nothing means a region or a picture, and which can be written as UTF-8."""
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return " ".join(_PLACEHOLDER.sub(" ", text).split())
