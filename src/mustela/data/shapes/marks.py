"""Marks: the ways a person points at an object (box, point, scribble, lasso, painted mask), as region JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from mustela.data.shapes.scene import BoolArray, Thing, tight_box

MarkKind = Literal["box", "point", "scribble", "polygon", "mask"]
MARK_KINDS: tuple[MarkKind, ...] = ("box", "point", "scribble", "polygon", "mask")
FREE_FORM_KINDS: tuple[MarkKind, ...] = ("point", "scribble", "polygon", "mask")

_SCRIBBLE_TRIES = 12
_MIN_PURITY = 0.9


@dataclass(frozen=True, eq=False)
class Mark:
    """A region of the native file format, and the object that it means."""

    thing: Thing
    region: dict[str, Any]

    @property
    def kind(self) -> str:
        """The region's type: box, point, scribble, polygon or mask."""
        return str(self.region["type"])


def mark_thing(thing: Thing, kind: MarkKind, rng: np.random.Generator) -> Mark:
    """Point at an object. A box and a point carry the object's mask as well, as training data does."""
    return Mark(thing, mark_pixels(thing.mask, kind, rng, whole=thing.mask))


def mark_pixels(
    pixels: BoolArray, kind: MarkKind, rng: np.random.Generator, *, whole: BoolArray | None = None
) -> dict[str, Any]:
    """Region JSON that marks the pixels of a mask (H, W), or a part of them.

    `whole` is the object's own mask, which boxes and points carry along; None leaves it out.
    """
    extra = {} if whole is None else {"mask": encode_mask(whole)}
    if kind == "box":
        return {"type": "box", "xyxy": list(tight_box(pixels)), **extra}
    if kind == "mask":
        return {"type": "mask", **encode_mask(pixels)}
    if kind == "point":
        x, y = inner_pixel(pixels, rng)
        return {"type": "point", "xy": [x + 0.5, y + 0.5], **extra}
    if kind == "scribble":
        return _scribble(pixels, rng)
    return _lasso(pixels, rng)


def encode_mask(mask: BoolArray) -> dict[str, Any]:
    """COCO's compressed RLE of a mask (H, W), with the counts as text."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def inner_pixel(mask: BoolArray, rng: np.random.Generator, *, depth: int = 4) -> tuple[int, int]:
    """A random pixel (x, y) of a mask, up to `depth` pixels away from the mask's edge where it is thick enough."""
    inner = np.pad(mask, 1)
    for _ in range(depth):
        shrunk = inner.copy()
        shrunk[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        if not shrunk.any():
            break
        inner = shrunk
    rows, columns = np.nonzero(inner[1:-1, 1:-1])
    chosen = int(rng.integers(len(rows)))
    return int(columns[chosen]), int(rows[chosen])


def stroke_pixels(
    points: npt.NDArray[np.float64], *, width: float, size_wh: tuple[int, int]
) -> BoolArray:
    """Pixels (H, W) that a stroke through `points` (N, 2) covers."""
    canvas = Image.new("1", size_wh)
    ImageDraw.Draw(canvas).line(points.ravel().tolist(), fill=1, width=max(1, round(width)))
    return np.asarray(canvas, dtype=np.bool_)


def _scribble(pixels: BoolArray, rng: np.random.Generator) -> dict[str, Any]:
    """A short stroke of 3 to 5 points that stays on the pixels, drawn along their longer direction."""
    height, width = pixels.shape
    stroke = float(rng.integers(2, 5))
    best: npt.NDArray[np.float64] | None = None
    rows, columns = np.nonzero(pixels)
    places = np.stack([columns, rows], axis=1) + 0.5
    for attempt in range(_SCRIBBLE_TRIES):
        picks = places[rng.integers(len(places), size=int(rng.integers(3, 6)))]
        if attempt >= _SCRIBBLE_TRIES // 2:
            # Thin or hollow objects: stay close to the first point.
            picks = picks[0] + (picks - picks[0]) * 0.4 * rng.random()
        direction = np.array([np.cos(attempt), np.sin(attempt)])
        picks = picks[np.argsort(picks @ direction)]
        covered = stroke_pixels(picks, width=stroke, size_wh=(width, height))
        if covered.any() and pixels[covered].mean() >= _MIN_PURITY:
            best = picks
            break
    if best is None:
        x, y = inner_pixel(pixels, rng)
        best = np.array([[x, y], [x + 1.0, y + 1.0]])
    return {"type": "scribble", "points": np.round(best, 1).tolist(), "width": stroke}


def _lasso(pixels: BoolArray, rng: np.random.Generator) -> dict[str, Any]:
    """A closed outline round a random inner point that goes out up to the pixels' edge in every direction."""
    x, y = inner_pixel(pixels, rng)
    height, width = pixels.shape
    count = int(rng.integers(10, 17))
    turns = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2.0 * np.pi / count
    steps = np.arange(0.0, float(np.hypot(width, height)), 1.0)
    columns = np.floor(x + 0.5 + np.cos(turns)[:, None] * steps).astype(np.int64)
    rows = np.floor(y + 0.5 + np.sin(turns)[:, None] * steps).astype(np.int64)
    outside = (columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)
    inside = pixels[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)] & ~outside
    reach = np.argmin(inside, axis=1) * rng.uniform(0.8, 1.0, count)
    reach = np.maximum(reach, 1.0)
    corners = np.stack([x + 0.5 + np.cos(turns) * reach, y + 0.5 + np.sin(turns) * reach], axis=1)
    corners = np.clip(corners, 0.0, [width, height])
    return {"type": "polygon", "rings": [np.round(corners, 1).ravel().tolist()]}
