"""Free-form questions about overlapping and nested objects that the region's bounding box alone can't answer.

They come in pairs: two regions with almost the same box, on two objects with different names.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from mustela.data.shapes.contours import trace_outline
from mustela.data.shapes.conversations import Conversation
from mustela.data.shapes.marks import (
    FREE_FORM_KINDS,
    Mark,
    MarkKind,
    box_iou,
    polygon_region,
    scribble_region,
)
from mustela.data.shapes.outlines import BoolArray, FloatArray
from mustela.data.shapes.patch import Patch
from mustela.data.shapes.questions import ask_name
from mustela.data.shapes.scene import Scene, Thing, tight_box
from mustela.data.shapes.strokes import connected_part, inner_pixel, span_stroke
from mustela.data.shapes.world import World
from mustela.regions import Mask

SAME_BOX_IOU = 0.7
"""Least overlap of the two boxes of a pair of regions (points: see NEAR_PIXELS)."""
NEAR_PIXELS = 16.0
"""Greatest distance of the two points of a pair, in pixels."""
_KIND_ODDS = (0.16, 0.34, 0.25, 0.25)  # points nearly always find a pair, strokes seldom do
_MIN_PIXELS = 24
_WINDOW_TRIES = 30
_MAX_PAIRS = 2


def freeform(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """Up to two pairs of questions, each question in a conversation of its own."""
    couples = [
        (first, second)
        for first, second in combinations(scene.things, 2)
        if first.name != second.name and box_iou(first.box, second.box) > 0.0
    ]
    conversations: list[Conversation] = []
    for index in rng.permutation(len(couples))[:_MAX_PAIRS]:
        kind = FREE_FORM_KINDS[int(rng.choice(len(FREE_FORM_KINDS), p=_KIND_ODDS))]
        couple = couples[index]
        regions = _matching_regions(couple, kind, rng)
        if regions is not None:
            conversations += [
                [ask_name(scene, world, rng, Mark(thing, region))]
                for thing, region in zip(couple, regions, strict=True)
            ]
    return conversations


def _matching_regions(
    couple: tuple[Thing, Thing], kind: MarkKind, rng: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Two regions of one kind, one on each object, with about the same box; None if none were found."""
    left, top, right, bottom = _union(couple[0].box, couple[1].box)
    patches = [thing.mask[top:bottom, left:right] for thing in couple]
    boxes = [_shifted(thing.box, -left, -top) for thing in couple]
    for _ in range(_WINDOW_TRIES):
        window = _window(boxes, patches[0].shape, rng)
        parts = [patch & window for patch in patches]
        if min(int(part.sum()) for part in parts) < _MIN_PIXELS:
            continue
        if kind == "point":
            near = [inner_pixel(Patch(part), rng) for part in parts]
            if np.hypot(near[0][0] - near[1][0], near[0][1] - near[1][1]) <= NEAR_PIXELS:
                return [{"type": "point", "xy": [left + x + 0.5, top + y + 0.5]} for x, y in near]
        elif box_iou(tight_box(parts[0]), tight_box(parts[1])) < SAME_BOX_IOU:
            continue
        elif kind == "mask":
            return [{"type": "mask", **_on_picture(part, couple[0], (left, top)).to_rle()} for part in parts]
        elif kind == "polygon":
            return [polygon_region(trace_outline(part, stride=2), corner_xy=(left, top)) for part in parts]
        else:
            strokes = _matching_strokes(parts, rng)
            if strokes is not None:
                return [scribble_region(stroke + np.array([left, top]), rng) for stroke in strokes]
    return None


def _window(
    boxes: list[tuple[int, int, int, int]], shape_hw: tuple[int, ...], rng: np.random.Generator
) -> BoolArray:
    """A random rectangle where the two boxes meet, as a mask."""
    x1, y1 = (max(box[axis] for box in boxes) for axis in (0, 1))
    x2, y2 = (min(box[axis] for box in boxes) for axis in (2, 3))
    half_width, half_height = rng.uniform(0.3, 0.75, 2) * (max(x2 - x1, 14), max(y2 - y1, 14))
    x, y = rng.uniform(x1, x2), rng.uniform(y1, y2)
    if rng.random() < 0.5:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
    window = np.zeros(shape_hw, dtype=np.bool_)
    rows = slice(max(0, int(y - half_height)), int(y + half_height) + 1)
    columns = slice(max(0, int(x - half_width)), int(x + half_width) + 1)
    window[rows, columns] = True
    return window


def _matching_strokes(parts: list[BoolArray], rng: np.random.Generator) -> list[FloatArray] | None:
    """A stroke through each part, or None where their boxes differ too much."""
    pieces = [connected_part(part, rng) for part in parts]
    if not all(piece.any() for piece in pieces):
        return None
    if box_iou(tight_box(pieces[0]), tight_box(pieces[1])) < SAME_BOX_IOU:
        return None
    strokes = [span_stroke(piece, rng) for piece in pieces]
    boxes = [(*stroke.min(axis=0), *stroke.max(axis=0)) for stroke in strokes]
    return strokes if box_iou(boxes[0], boxes[1]) >= SAME_BOX_IOU else None


def _on_picture(part: BoolArray, thing: Thing, corner_xy: tuple[int, int]) -> Mask:
    left, top = corner_xy
    full = np.zeros_like(thing.mask)
    full[top : top + part.shape[0], left : left + part.shape[1]] = part
    return Mask.from_array(full)


def _union(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def _shifted(box: tuple[int, int, int, int], x: int, y: int) -> tuple[int, int, int, int]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y
