"""Rounds: one question and its answer, with the regions in both and what the two give away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mustela.data.shapes.marks import Mark
from mustela.data.shapes.scene import Thing
from mustela.data.shapes.world import World


@dataclass(frozen=True)
class Description:
    """Words for objects: a shape, a colour, both, or neither (any object)."""

    shape: str | None
    colour: str | None

    def fits(self, thing: Thing) -> bool:
        """Whether the words are true of an object."""
        return self.shape in (None, thing.shape.name) and self.colour in (None, thing.colour.name)

    def overlaps(self, other: Description) -> bool:
        """Whether one is a special case of the other: knowing one then says something of the other."""
        return (
            (self.shape is None or other.shape in (None, self.shape))
            and (self.colour is None or other.colour in (None, self.colour))
        ) or (
            (other.shape is None or self.shape == other.shape)
            and (other.colour is None or self.colour == other.colour)
        )


@dataclass(frozen=True, eq=False)
class Round:
    """A question and its answer.

    Regions stand in the texts as `<bbox_locationN>`, N counting within each text. `descriptions` are the
    words used for objects; `things` are the numbers of all objects that it points at, boxes or describes.
    """

    task: str
    question: str
    answer: str
    asked: tuple[Mark, ...]
    boxed: tuple[Thing, ...]
    descriptions: tuple[Description, ...]
    things: frozenset[int]


def compatible(candidate: Round, earlier: list[Round]) -> bool:
    """Whether `earlier` rounds say nothing of what `candidate` asks: no common object, no related words."""
    return all(
        not (candidate.things & done.things)
        and not any(a.overlaps(b) for a in candidate.descriptions for b in done.descriptions)
        for done in earlier
    )


def describe(thing: Thing) -> Description:
    """Full words for an object."""
    return Description(thing.shape.name, thing.colour.name)


def singular(world: World, words: Description) -> str:
    """The words for one object, as in "red star", "star" or "red object"."""
    noun = words.shape or world.thing[0]
    return f"{words.colour} {noun}" if words.colour else noun


def plural(world: World, words: Description) -> str:
    """The words for several objects, as in "red stars", "stars" or "red objects"."""
    noun = next((shape.plural for shape in world.shapes if shape.name == words.shape), world.thing[1])
    return f"{words.colour} {noun}" if words.colour else noun


def with_article(words: str) -> str:
    """The words behind "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def phrase(world: World, task: str, rng: np.random.Generator) -> str:
    """One of the task's questions, drawn at random."""
    asks = world.phrasings[task]["ask"]
    return asks[int(rng.integers(len(asks)))]


def reply(world: World, task: str, key: str) -> str:
    """An answer pattern of a task."""
    return str(world.phrasings[task][key])
