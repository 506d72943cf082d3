"""Coordinates as location tokens, `<loc0000>` to `<loc1023>`, y before x, as PaliGemma's.

A token is the share of the side in 1024ths: `y_min x_min y_max x_max`, then the label
(huggingface.co/blog/paligemma, "Detection"; the tokens: big_vision's README of PaliGemma, "Tokenizer").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mustela.regions.phrases import phrase_before
from mustela.regions.types import Box, Point

LOCATION_STEPS: Final = 1024
_RUN: Final = re.compile(r"(?:<loc\d{1,8}>\s{0,3})+")
_NUMBER: Final = re.compile(r"<loc(\d+)>")
# PaliGemma writes the words behind the tokens, up to a semicolon.
_PHRASE_AFTER: Final = re.compile(r"[^;<\n]*")


@dataclass(frozen=True, slots=True)
class LocationRun:
    """Location tokens that stand together: a region or the reason why they are none.

    `span` is the half-open range of characters in the text, `phrase` the words before them, or behind them
    where there are none before.
    """

    region: Box | Point | None
    span: tuple[int, int]
    phrase: str
    note: str


def write_location_tokens(values: Sequence[float], size_wh: tuple[float, float]) -> str:
    """Return `y x` or `y1 x1 y2 x2` as tokens, of `x, y` or `x1, y1, x2, y2` in pixels inside the image."""
    steps = [
        min(round(value * LOCATION_STEPS / size_wh[axis % 2]), LOCATION_STEPS - 1)
        for axis, value in enumerate(values)
    ]
    pairs = zip(steps[::2], steps[1::2], strict=True)
    return "".join(f"<loc{y:04}><loc{x:04}>" for x, y in pairs)


def find_location_tokens(text: str, size_wh: tuple[float, float]) -> Iterator[LocationRun]:
    """Yield every run of location tokens; four are a box, two a point, more than four several boxes."""
    end_before = 0
    for run in _RUN.finditer(text):
        tokens = list(_NUMBER.finditer(run[0]))
        phrase = phrase_before(text[end_before : run.start()])
        if not phrase:
            behind = _PHRASE_AFTER.match(text, run.end())
            phrase = " ".join(behind[0].split()).rstrip(".,:") if behind else ""
            end_before = behind.end() if behind else run.end()
        else:
            end_before = run.end()
        count = 2 if len(tokens) == 2 else 4
        for first in range(0, len(tokens), count):
            part = tokens[first : first + count]
            span = run.start() + part[0].start(), run.start() + part[-1].end()
            region, note = _region([int(token[1]) for token in part], count, size_wh)
            yield LocationRun(region, span, phrase, note)


def _region(steps: Sequence[int], count: int, size_wh: tuple[float, float]) -> tuple[Box | Point | None, str]:
    if len(steps) != count:
        return None, f"{len(steps)} location tokens are neither a box (4) nor a point (2)"
    beyond = [step for step in steps if step >= LOCATION_STEPS]
    if beyond:
        return None, f"<loc{beyond[0]}> is out of range (0 to {LOCATION_STEPS - 1})"
    y1, x1, *rest = (step * size_wh[1 - axis % 2] / LOCATION_STEPS for axis, step in enumerate(steps))
    if not rest:
        return Point(x1, y1), ""
    y2, x2 = rest
    swapped = x2 < x1 or y2 < y1
    box = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    return box, "corners swapped" if swapped else ""
