"""Marks: ways to point at an object (box, point, scribble, lasso, painted mask), as region JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mustela.data.shapes.patch import Patch
from mustela.data.shapes.scene import Scene, Thing
from mustela.data.shapes.strokes import draw_stroke, inner_pixel

MarkKind = Literal["box", "point", "scribble", "polygon", "mask"]
MARK_KINDS: tuple[MarkKind, ...] = ("box", "point", "scribble", "polygon", "mask")
FREE_FORM_KINDS: tuple[MarkKind, ...] = ("point", "scribble", "polygon", "mask")

_MARK_ODDS = (0.36, 0.19, 0.15, 0.15, 0.15)
_RIVAL_IOU = 0.6


@dataclass(frozen=True, eq=False)
class Mark:
    """A region of the native file format, and the object that it means."""

    thing: Thing
    region: dict[str, Any]

    @property
    def kind(self) -> str:
        """The region's type: box, point, scribble, polygon or mask."""
        return str(self.region["type"])


def mark_thing(
    scene: Scene,
    thing: Thing,
    rng: np.random.Generator,
    *,
    kind: MarkKind | None = None,
    with_mask: bool = False,
) -> Mark:
    """Point at an object of a scene, by a kind of mark drawn from fixed odds where none is given.

    A box or a point carries the object's mask only if asked to, as a user's click has none. Where another
    object has about the same box, a box alone would not say which is meant: then it becomes another mark.
    """
    chosen = kind or MARK_KINDS[int(rng.choice(len(MARK_KINDS), p=_MARK_ODDS))]
    if chosen == "box" and not with_mask and _has_rival(scene, thing):
        chosen = FREE_FORM_KINDS[int(rng.integers(len(FREE_FORM_KINDS)))]
    region = _region(thing, chosen, rng)
    if with_mask and chosen in ("box", "point"):
        region["mask"] = thing.rle
    return Mark(thing, region)


def scribble_region(points: npt.NDArray[np.float64], rng: np.random.Generator) -> dict[str, Any]:
    """Region JSON of a stroke (N, 2), with a random width."""
    return {"type": "scribble", "points": np.round(points, 1).tolist(), "width": int(rng.integers(2, 5))}


def polygon_region(
    rings: Sequence[Sequence[Sequence[float]]], *, corner_xy: tuple[int, int]
) -> dict[str, Any]:
    """Region JSON of rings of (x, y) corners on a patch whose top left pixel is `corner_xy`."""
    return {
        "type": "polygon",
        "rings": [
            [round(float(side + corner_xy[axis]), 1) for corner in ring for axis, side in enumerate(corner)]
            for ring in rings
        ],
    }


def box_iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two (x1, y1, x2, y2) boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width * height / (areas - width * height)


def _has_rival(scene: Scene, thing: Thing) -> bool:
    return any(
        box_iou(thing.box, other.box) > _RIVAL_IOU for other in scene.things if other.number != thing.number
    )


def _region(thing: Thing, kind: MarkKind, rng: np.random.Generator) -> dict[str, Any]:
    """Region JSON that marks the visible pixels of an object, or a part of them."""
    left, top, right, bottom = thing.box
    if kind == "box":
        return {"type": "box", "xyxy": [left, top, right, bottom]}
    if kind == "mask":
        return {"type": "mask", **thing.rle}
    if kind == "point":
        x, y = inner_pixel(thing.patch, rng)
        return {"type": "point", "xy": [left + x + 0.5, top + y + 0.5]}
    if kind == "scribble":
        return scribble_region(draw_stroke(thing.patch, rng, turns=3) + np.array([left, top]), rng)
    rings = [_lasso(thing.patch, rng)] if rng.random() < 0.5 else thing.patch.outline
    return polygon_region(rings, corner_xy=(left, top))


def _lasso(patch: Patch, rng: np.random.Generator) -> list[list[float]]:
    """A closed outline round a random inner point that goes out up to the patch's edge in every direction."""
    x, y = inner_pixel(patch, rng)
    pixels = patch.mask
    height, width = pixels.shape
    count = int(rng.integers(10, 17))
    turns = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2.0 * np.pi / count
    steps = np.arange(0.0, float(np.hypot(width, height)) + 2.0)
    columns = np.floor(x + 0.5 + np.cos(turns)[:, None] * steps).astype(np.int64)
    rows = np.floor(y + 0.5 + np.sin(turns)[:, None] * steps).astype(np.int64)
    within = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    inside = within & pixels[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    reach = np.maximum(np.argmin(inside, axis=1) * rng.uniform(0.8, 1.0, count), 1.0)
    corners = np.stack([x + 0.5 + np.cos(turns) * reach, y + 0.5 + np.sin(turns) * reach], axis=1)
    outline: list[list[float]] = np.clip(corners, 0.0, (width, height)).tolist()
    return outline
