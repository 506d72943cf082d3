"""What a written record says and gives away, found out from its JSON and the true scene alone.

Shares no code with the generator of questions, so that the tests do not repeat its mistakes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mustela.data.shapes import Scene, Thing, World
from mustela.regions import Region, region_from_json

Words = tuple[str | None, str | None]  # (colour, shape); None where the text leaves it open


@dataclass
class Round:
    """One question with its answer: texts, regions, and all that the two mention."""

    question: str
    answer: str
    asked: list[dict[str, Any]]
    boxed: list[dict[str, Any]]
    words: set[Words] = field(default_factory=set)
    things: set[int] = field(default_factory=set)


def read_rounds(record: dict[str, Any], scene: Scene, world: World) -> list[Round]:
    """The rounds of a record with the words in them and the objects that they point at or describe."""
    turns = [turn["value"].removeprefix("<image>\n") for turn in record["conversations"]]
    regions = record.get("regions") or [
        [{"type": "box", "xyxy": box, "mask": mask} for box, mask in zip(boxes, masks, strict=True)]
        for boxes, masks in zip(record["box_x1y1x2y2"], record["masks"], strict=True)
    ]
    rounds = []
    for start in range(0, len(turns), 2):
        item = Round(turns[start], turns[start + 1], regions[start], regions[start + 1])
        item.words = words_in(item.question, world) | words_in(item.answer, world)
        item.things = {thing.number for thing in scene.things if any(fits(w, thing) for w in item.words)}
        item.things |= {pointed_at(region, scene).number for region in [*item.asked, *item.boxed]}
        rounds.append(item)
    return rounds


def words_in(text: str, world: World) -> set[Words]:
    """Every mention of an object or a kind of objects."""
    shapes = {noun: shape.name for shape in world.shapes for noun in (shape.name, shape.plural)}
    nouns: dict[str, str | None] = {**shapes, world.thing[0]: None, world.thing[1]: None}
    colours = "|".join(colour.name for colour in world.colours)
    pattern = rf"\b(?:({colours}) )?({'|'.join(sorted(nouns, key=len, reverse=True))})\b"
    found = {(match[1], nouns[match[2]]) for match in re.finditer(pattern, text)}
    asks_for_kind = re.search(r"the object <|Which object is", text) is not None
    return found - {(None, None)} if asks_for_kind else found


def fits(words: Words, thing: Thing) -> bool:
    return words[0] in (None, thing.colour.name) and words[1] in (None, thing.shape.name)


def related(first: Words, second: Words) -> bool:
    """Whether one of the two is a special case of the other."""
    pairs = list(zip(first, second, strict=True))
    return all(a is None or a == b for a, b in pairs) or all(b is None or a == b for a, b in pairs)


def pixels(region: dict[str, Any], scene: Scene) -> np.ndarray:
    return read_region(region).raster(scene.size_wh)


def read_region(region: dict[str, Any]) -> Region:
    return region_from_json(region, ignore=("mask",))


def pointed_at(region: dict[str, Any], scene: Scene) -> Thing:
    """The object that a region means: by the best fitting box, else by the most pixels."""
    if region["type"] == "box":
        return max(scene.things, key=lambda thing: iou(region["xyxy"], thing.box))
    inside = pixels(region, scene)
    if region["type"] == "point":
        x, y = region["xy"]
        inside = np.zeros_like(inside)
        inside[int(y), int(x)] = True
    return max(scene.things, key=lambda thing: int((thing.mask & inside).sum()))


def iou(first: Any, second: Any) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return float(both / (areas - both))


def find_leaks(record: dict[str, Any], scene: Scene, world: World) -> list[str]:
    """What earlier turns of a record give away about its later questions; empty if nothing."""
    leaks = []
    rounds = read_rounds(record, scene, world)
    for number, item in enumerate(rounds):
        for earlier in rounds[:number]:
            said = f"{record['id']}: round {number} ({item.question} {item.answer})"
            if item.things & earlier.things:
                leaks.append(f"{said} is about objects {item.things & earlier.things} of: {earlier.question}")
            if any(related(a, b) for a in item.words for b in earlier.words):
                leaks.append(f"{said} uses words related to {earlier.words} of: {earlier.question}")
            known = f"{earlier.question} {earlier.answer}"
            if len(item.answer) > 4 and item.answer.rstrip(".") in known:
                leaks.append(f"{said}: the answer stands in: {known}")
            known_boxes = [
                list(read_region(region).bounds_xyxy()) for region in earlier.asked + earlier.boxed
            ]
            if any(list(map(float, region["xyxy"])) in known_boxes for region in item.boxed):
                leaks.append(f"{said}: the box stands in: {known}")
    return leaks
