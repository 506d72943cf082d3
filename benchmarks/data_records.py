"""Records like GRIT's, as many as wanted, for `benchmarks/data.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.regions import Mask

SIZE_WH, PICTURES, SEED = (640, 480), 1000, 0
WORDS = [
    *("a", "small", "red", "car", "near", "the", "old", "wooden", "door", "with", "two", "children", "who"),
    *("look", "at", "black", "dogs", "under", "green", "trees", "and", "an", "open", "window", "while"),
    *("one", "man", "in", "white", "reads", "something", "on", "his", "long", "way", "home"),
]


OBJECTS = 7
"""Objects a picture, as in COCO."""


def records(count: int) -> Iterator[dict[str, Any]]:
    """Yield records like GRIT's: one to three rounds that refer to boxes and answer with some."""
    rng = random.Random(SEED)
    for number in range(count):
        conversations, boxes = [], []
        for turn in range(rng.randint(1, 3)):
            asked, answered = 1, rng.randint(0, 3)
            question = f"What is <bbox_location0> and {' '.join(rng.choices(WORDS, k=6))}?"
            places = " ".join(f"{rng.choice(WORDS)} <bbox_location{index}>" for index in range(answered))
            answer = f"{' '.join(rng.choices(WORDS, k=14))} {places}".strip() + "."
            conversations += _round(turn, question, answer)
            boxes += [[_box(rng, smallest=20) for _ in range(needed)] for needed in (asked, answered)]
        yield _record(f"grit_{number}", number, conversations, boxes)


def masked_records(count: int) -> Iterator[dict[str, Any]]:
    """Yield records of pictures with as many objects as COCO's have, a round and an RLE mask for each."""
    rng = random.Random(SEED)
    for number in range(count):
        conversations, boxes, masks = [], [], []
        for turn in range(OBJECTS):
            box = _box(rng, smallest=16, largest=rng.choice((48, 96, 192, 384)))
            conversations += _round(turn, "What is <bbox_location0>?", " ".join(rng.choices(WORDS, k=5)))
            boxes += [[box], []]
            masks += [[ellipse(box)], []]
        yield {**_record(f"coco_{number}", number, conversations, boxes), "masks": masks}


def _box(rng: random.Random, *, smallest: int, largest: int = 10_000) -> list[int]:
    width, height = SIZE_WH
    left, top = rng.randint(0, width - smallest), rng.randint(0, height - smallest)
    right = rng.randint(left + smallest, min(left + largest, width))
    return [left, top, right, rng.randint(top + smallest, min(top + largest, height))]


def _round(turn: int, question: str, answer: str) -> list[dict[str, str]]:
    picture = f"{IMAGE_PLACEHOLDER}\n" if turn == 0 else ""
    return [{"from": "human", "value": picture + question}, {"from": "gpt", "value": answer}]


def _record(name: str, number: int, conversations: list[Any], boxes: list[Any]) -> dict[str, Any]:
    width, height = SIZE_WH
    return {
        "id": name,
        "image": f"{number % PICTURES:05}.jpg",
        "image_w": width,
        "image_h": height,
        "conversations": conversations,
        "box_x1y1x2y2": boxes,
    }


def ellipse(box: list[int]) -> dict[str, object]:
    """Return the ellipse that fills a box, as COCO's compressed run lengths."""
    left, top, right, bottom = box
    rows, columns = np.ogrid[: SIZE_WH[1], : SIZE_WH[0]]
    across = (columns + 0.5 - (left + right) / 2) / ((right - left) / 2)
    down = (rows + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    return Mask.from_array(across**2 + down**2 <= 1).to_rle()
