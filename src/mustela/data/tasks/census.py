"""What a data set has of each name, and which names come together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mustela.data.tasks.placed import PlacedScene

_MAX_PAIRED = 2000


@dataclass(slots=True)
class Census:
    """Counts of names over scenes: objects, pictures, and pictures that show two names."""

    objects: Counter[str] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, scene: PlacedScene) -> None:
        """Count one scene; only the names that came first are paired, so that memory has a bound."""
        names = sorted({thing.name for thing in scene.things if thing.name})
        self.objects.update(thing.name for thing in scene.things if thing.name)
        self.pictures.update(names)
        if len(self.pictures) <= _MAX_PAIRED:
            self.together.update(
                (one, other) for place, one in enumerate(names) for other in names[place + 1 :]
            )

    def keep_share(self, name: str, balance: float) -> float:
        """Return the chance to ask about an object of a name.

        1 for names up to the median count; more common ones are thinned out, with `balance` 1 to the median.
        """
        if not balance or name not in self.objects:
            return 1.0
        median = float(np.median(list(self.objects.values())))
        return float(min(1.0, median / self.objects[name]) ** balance)

    def likely_absent(
        self, present: Iterable[str], candidates: Iterable[str], count: int, rng: np.random.Generator
    ) -> list[str]:
        """Draw names that are not there, more often those that usually come with what is there."""
        here = set(present)
        names = sorted(set(candidates) - here)
        if not names or count < 1:
            return []
        weights = np.array(
            [0.1 + sum(self.together[min(n, p), max(n, p)] / self.pictures[p] for p in here) for n in names]
        )
        chosen = rng.choice(len(names), min(count, len(names)), replace=False, p=weights / weights.sum())
        return [names[int(index)] for index in chosen]
