"""What the makers of conversations share: a scene, its phrasings, and a generator for all choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from mustela.data.record import RegionAnnotation
from mustela.data.tasks.census import Census
from mustela.data.tasks.options import TaskOptions
from mustela.data.tasks.phrasings import Phrasings
from mustela.data.tasks.placed import PlacedScene, PlacedThing
from mustela.errors import ConfigError


@dataclass(slots=True)
class Side:
    """A text that is being written, and the regions that it names."""

    text: str = ""
    regions: list[RegionAnnotation] = field(default_factory=list)

    def mark(self, annotation: RegionAnnotation) -> str:
        """Return the placeholder of a region."""
        self.regions.append(annotation)
        return f"<bbox_location{len(self.regions) - 1}>"

    def box(self, thing: PlacedThing) -> str:
        """Return the placeholder of an object's box; answers have boxes and nothing else."""
        box = thing.box
        if box is None:
            raise ConfigError(f"the {thing.name} has no box.")
        return self.mark(RegionAnnotation(box))


Round: TypeAlias = tuple[Side, Side]


@dataclass(frozen=True, slots=True)
class Making:
    """The making of one conversation."""

    scene: PlacedScene
    phrasings: Phrasings
    census: Census
    options: TaskOptions
    rng: np.random.Generator

    def say(self, task: str, part: str, **values: str) -> str:
        """Return a text of a task, filled in; which of its phrasings, the generator says."""
        return self.phrasings.say(task, part, self.rng, **values)

    def kept(self, name: str) -> bool:
        """Draw whether an object of a name is asked about."""
        return bool(self.rng.random() < self.census.keep_share(name, self.options.balance))

    def shuffled(self) -> list[PlacedThing]:
        """Return the objects that are large enough to be asked about, in any order."""
        things = self.scene.things
        large = [things[int(place)] for place in self.rng.permutation(len(things))]
        least = self.options.min_side
        return [thing for thing in large if not least or _short_side(thing) >= least]

    def ordered(self, things: Sequence[PlacedThing]) -> list[PlacedThing]:
        """Return objects with boxes in the order that answers have."""
        boxed = [(thing, thing.box) for thing in things]
        found = [(thing, box) for thing, box in boxed if box is not None]
        if self.options.order == "size":
            found.sort(key=lambda pair: -(pair[1].x2 - pair[1].x1) * (pair[1].y2 - pair[1].y1))
        elif self.options.order == "raster":
            height = self.scene.image.size_wh[1] if self.scene.image.size_wh else 1000
            found.sort(key=lambda pair: (int(8 * pair[1].y1 / height), pair[1].x1, pair[1].y1))
        return [thing for thing, _ in found]

    def all_of(self, name: str) -> list[PlacedThing] | None:
        """Return all objects of a name for an answer; None where they aren't all known or too many."""
        things = [thing for thing in self.scene.things if thing.name == name]
        known = self.scene.exhaustive and name not in self.scene.partial
        boxed = all(thing.box is not None for thing in things)
        return self.ordered(things) if known and boxed and len(things) <= self.options.max_boxes else None

    def absent(self, count: int) -> list[str]:
        """Draw names that aren't in the picture, for certain."""
        present = {thing.name for thing in self.scene.things} | self.scene.partial
        certain = self.scene.absent or (set(self.census.pictures) if self.scene.complete else set())
        return self.census.likely_absent(
            present & set(self.census.pictures), certain - present, count, self.rng
        )

    def items(self, task: str, answer: Side, things: Sequence[PlacedThing]) -> str:
        """Return a list of objects with their boxes."""
        return self.phrasings.join(
            [self.say(task, "item", name=thing.name, region=answer.box(thing)) for thing in things]
        )


def _short_side(thing: PlacedThing) -> float:
    x1, y1, x2, y2 = thing.annotation.region.bounds_xyxy()
    return min(x2 - x1, y2 - y1)
