"""Scenes and conversations by number, and as records of the native file format."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mustela.data.shapes.conversations import (
    Conversation,
    all_questions,
    detection,
    examination,
    mixture,
    naming,
    short_questions,
)
from mustela.data.shapes.freeform import freeform
from mustela.data.shapes.scene import Scene, draw_scene
from mustela.data.shapes.world import World

Maker = Callable[[Scene, World, np.random.Generator], list[Conversation]]

SPLIT_FILES: dict[str, dict[str, Maker]] = {
    "train": {
        "train": mixture,
        "train_refer": naming,
        "train_detect": detection,
        "train_apart_short": short_questions,
        "train_apart": all_questions,
        "train_freeform": freeform,
    },
    "val": {"val": examination, "val_freeform": freeform},
}
"""The JSON files of each split, and what makes their conversations.

In `train_apart*` a round may give away another: they are for `separate_rounds`.
"""


def scene_of(world: World, *, seed: int, split: str, index: int) -> Scene:
    """Scene number `index` of a split."""
    return draw_scene(world, _generator(world, seed=seed, split=split, index=index, purpose="scene"))


def records_of(
    scene: Scene, world: World, *, name: str, seed: int, split: str, index: int, image: str
) -> list[dict[str, Any]]:
    """The records that the file `name` has for scene number `index`, as JSON objects."""
    make = SPLIT_FILES[split][name]
    conversations = make(scene, world, _generator(world, seed=seed, split=split, index=index, purpose=name))
    return [
        to_record(conversation, scene, stem=f"{name}-{index:06d}-{number}", image=image)
        for number, conversation in enumerate(conversations)
    ]


def to_record(conversation: Conversation, scene: Scene, *, stem: str, image: str) -> dict[str, Any]:
    """Native JSON of a conversation: `box_x1y1x2y2` and `masks` where it has only boxes, else `regions`.

    The id is the stem and the task: refer, ground, detect, presence, count, relation, or mixed.
    """
    turns: list[dict[str, str]] = []
    regions: list[list[dict[str, Any]]] = []
    for number, item in enumerate(conversation):
        question = item.question if number else f"<image>\n{item.question}"
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": item.answer}]
        regions.append([mark.region for mark in item.asked])
        regions.append([{"type": "box", "xyxy": list(thing.box)} for thing in item.boxed])
    tasks = {item.task for item in conversation}
    width, height = scene.size_wh
    record: dict[str, Any] = {
        "id": f"{stem}-{tasks.pop() if len(tasks) == 1 else 'mixed'}",
        "image": image,
        "image_w": width,
        "image_h": height,
        "conversations": turns,
    }
    if all(region["type"] == "box" for turn in regions for region in turn):
        record["box_x1y1x2y2"] = [[region["xyxy"] for region in turn] for turn in regions]
        record["masks"] = [[region.get("mask") for region in turn] for turn in regions]
    else:
        record["regions"] = regions
    return record


def _generator(world: World, *, seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    words = (world.name, split, purpose)
    return np.random.default_rng([seed, index, *(zlib.crc32(word.encode()) for word in words)])
