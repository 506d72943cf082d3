"""Scenes: pictures with annotated objects, before they become conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Thing:
    """One annotated object.

    `region` is an object of the native `regions` (`{"type": "box", "xyxy": [...], "mask": ...}`), in pixels
    and as it was found: whether it lies in its picture is checked later. `phrases` are expressions that mean
    this object, `crowd` says that the region covers several objects at once.
    """

    name: str
    region: Mapping[str, Any]
    crowd: bool = False
    phrases: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about a picture; `<bbox_locationN>` in it stands for `regions[N]`, native objects."""

    text: str
    regions: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """`subject` and `object` are indices of things."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and all that is known of it.

    `absent` are names that annotators looked for and did not find; `partial` names of which some objects may
    have been left without annotation. If `exhaustive`, every object of the names that occur, apart from
    those, is annotated; if `complete`, names of the data set that don't occur are absent.
    """

    id: str
    image: str
    size_wh: tuple[int, int] | None = None
    things: tuple[Thing, ...] = ()
    captions: tuple[Caption, ...] = ()
    relations: tuple[Relation, ...] = ()
    absent: frozenset[str] = field(default_factory=frozenset)
    partial: frozenset[str] = field(default_factory=frozenset)
    exhaustive: bool = True
    complete: bool = True


def box_region(x1: float, y1: float, x2: float, y2: float, mask: object = None) -> dict[str, Any]:
    """Return the native object of a box, with the object's mask (RLE or rings) if there is one."""
    region: dict[str, Any] = {"type": "box", "xyxy": [x1, y1, x2, y2]}
    return {**region, "mask": mask} if mask else region


def polygon_region(points: list[float]) -> dict[str, Any]:
    """Return the native object of an outline `x1, y1, x2, y2, ...`: its box, with the outline as mask."""
    xs, ys = points[::2], points[1::2]
    return box_region(min(xs), min(ys), max(xs), max(ys), [points])
