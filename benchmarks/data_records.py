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


def records(count: int, *, masks: bool = False) -> Iterator[dict[str, Any]]:
    """Yield records like GRIT's: one to three rounds that refer to boxes and answer with some.

    With `masks`, what a question refers to has a mask too, an ellipse in its box, as run lengths.
    """
    rng = random.Random(SEED)
    width, height = SIZE_WH
    for number in range(count):
        conversations, boxes = [], []
        for turn in range(rng.randint(1, 3)):
            asked, answered = 1, rng.randint(0, 3)
            question = f"What is <bbox_location0> and {' '.join(rng.choices(WORDS, k=6))}?"
            places = " ".join(f"{rng.choice(WORDS)} <bbox_location{index}>" for index in range(answered))
            answer = f"{' '.join(rng.choices(WORDS, k=14))} {places}".strip() + "."
            picture = f"{IMAGE_PLACEHOLDER}\n" if turn == 0 else ""
            conversations += [
                {"from": "human", "value": picture + question},
                {"from": "gpt", "value": answer},
            ]
            for needed in (asked, answered):
                corners = []
                for _ in range(needed):
                    left, top = rng.randint(0, width - 41), rng.randint(0, height - 41)
                    right, bottom = rng.randint(left + 20, width), rng.randint(top + 20, height)
                    corners.append([left, top, right, bottom])
                boxes.append(corners)
        record = {
            "id": f"grit_{number}",
            "image": f"{number % PICTURES:05}.jpg",
            "image_w": width,
            "image_h": height,
            "conversations": conversations,
            "box_x1y1x2y2": boxes,
        }
        if masks:
            record["masks"] = [
                [ellipse(box) if turn % 2 == 0 else None for box in found] for turn, found in enumerate(boxes)
            ]
        yield record


def ellipse(box: list[int]) -> dict[str, object]:
    """Return the ellipse that fills a box, as COCO's compressed run lengths."""
    left, top, right, bottom = box
    rows, columns = np.ogrid[: SIZE_WH[1], : SIZE_WH[0]]
    across = (columns + 0.5 - (left + right) / 2) / ((right - left) / 2)
    down = (rows + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    return Mask.from_array(across**2 + down**2 <= 1).to_rle()
