"""Scenes with all of their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mustela.data.shapes import Scene, World
from mustela.data.shapes.record import SPLIT_FILES, records_of, scene_of


@dataclass(frozen=True)
class Sample:
    """One scene and its records, by the name of the file that they go to."""

    scene: Scene
    world: World
    records: dict[str, list[dict[str, Any]]]


def make_samples(world: World, count: int, *, splits: tuple[str, ...] = ("train", "val")) -> list[Sample]:
    samples = []
    for split in splits:
        for index in range(count):
            at = {"seed": 7, "split": split, "index": index}
            scene = scene_of(world, **at)
            names = SPLIT_FILES[split]
            records = {name: records_of(scene, world, name=name, image="a.jpg", **at) for name in names}
            samples.append(Sample(scene, world, records))
    return samples
