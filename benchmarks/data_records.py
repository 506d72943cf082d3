"""Records like GRIT's, as many as wanted, for `benchmarks/data.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER

SIZE_WH, PICTURES, SEED = (640, 480), 1000, 0
WORDS = [
    *("a", "small", "red", "car", "near", "the", "old", "wooden", "door", "with", "two", "children", "who"),
    *("look", "at", "black", "dogs", "under", "green", "trees", "and", "an", "open", "window", "while"),
    *("one", "man", "in", "white", "reads", "something", "on", "his", "long", "way", "home"),
]


def records(count: int) -> Iterator[dict[str, Any]]:
    """Yield records like GRIT's: one to three rounds that refer to boxes and answer with some."""
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
        yield {
            "id": f"grit_{number}",
            "image": f"{number % PICTURES:05}.jpg",
            "image_w": width,
            "image_h": height,
            "conversations": conversations,
            "box_x1y1x2y2": boxes,
        }
