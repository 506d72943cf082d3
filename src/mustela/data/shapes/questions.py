"""Questions about a scene, one function a task; each draws its wording and its marks from a generator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mustela.data.shapes.marks import Mark
from mustela.data.shapes.rounds import (
    Description,
    Round,
    describe,
    phrase,
    plural,
    reply,
    singular,
    with_article,
)
from mustela.data.shapes.scene import Scene, Thing
from mustela.data.shapes.world import World


def ask_name(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    mark: Mark,
    *,
    task: str = "refer",
) -> Round:
    """Referring: "What is <region>?"."""
    return Round(
        task="refer",
        question=phrase(world, task, rng).replace("<region>", "<bbox_location0>"),
        answer=reply(world, task, "answer").format(a_thing=with_article(mark.thing.name)),
        asked=(mark,),
        boxed=(),
        descriptions=(describe(mark.thing),),
        things=_touched(scene, [describe(mark.thing)], [mark.thing]),
    )


def ask_place(
    scene: Scene, world: World, rng: np.random.Generator, words: Description, *, task: str | None = None
) -> Round:
    """Grounding: "Where is the red star?" where the words fit one object, else "Where is every red star?"."""
    found = [thing for thing in scene.things if words.fits(thing)]
    if task is None:
        task = "ground_one" if len(found) == 1 and rng.random() < 0.9 else "ground_all"
    question = phrase(world, task, rng).format(thing=singular(world, words), things=plural(world, words))
    return _boxes_round(scene, world, "ground", task, question, found, [words])


def ask_everything(scene: Scene, world: World, rng: np.random.Generator, *, task: str = "detect") -> Round:
    """Dense detection: every object's name and box, in raster order."""
    return _boxes_round(
        scene, world, "detect", task, phrase(world, task, rng), list(scene.things), [Description(None, None)]
    )


def ask_presence(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    name: Description,
    *,
    earlier: Sequence[Round] = (),
    task: str = "presence",
) -> Round:
    """Presence, yes or no with equal odds: the present `name`, or something absent that is like it."""
    present = bool(rng.random() < 0.5)
    words = name if present else _absent(scene, world, rng, name, earlier)
    return Round(
        task="presence",
        question=phrase(world, task, rng).format(
            thing=singular(world, words), a_thing=with_article(singular(world, words))
        ),
        answer=reply(world, task, "yes" if present else "no"),
        asked=(),
        boxed=(),
        descriptions=(words,),
        things=_touched(scene, [words], []),
    )


def ask_count(scene: Scene, world: World, rng: np.random.Generator, words: Description) -> Round:
    """Counting: "How many stars are there?"."""
    count = sum(words.fits(thing) for thing in scene.things)
    return Round(
        task="count",
        question=phrase(world, "count", rng).format(things=plural(world, words)),
        answer=reply(world, "count", "answer").format(count=count),
        asked=(),
        boxed=(),
        descriptions=(words,),
        things=_touched(scene, [words], []),
    )


def ask_relation(scene: Scene, world: World, rng: np.random.Generator, first: Mark, second: Mark) -> Round:
    """A yes/no question about two marked objects, about a relation that is clear to the eye."""
    judged = relations(scene, first.thing, second.thing)
    wanted = bool(rng.random() < 0.5)
    answers = [name for name, truth in judged.items() if truth == wanted] or list(judged)
    relation = answers[int(rng.integers(len(answers)))]
    question = phrase(world, relation, rng)
    return Round(
        task="relation",
        question=question.replace("<region_a>", "<bbox_location0>").replace("<region_b>", "<bbox_location1>"),
        answer=reply(world, relation, "yes" if judged[relation] else "no"),
        asked=(first, second),
        boxed=(),
        descriptions=(),
        things=_touched(scene, [], [first.thing, second.thing]),
    )


def relations(scene: Scene, first: Thing, second: Thing) -> dict[str, bool]:
    """Truth of every relation between two objects that is clear to the eye."""
    right = (first.centre[0] - second.centre[0]) / scene.size_wh[0]
    down = (first.centre[1] - second.centre[1]) / scene.size_wh[1]
    ratio = first.area / second.area
    judged = {
        "same_colour": first.colour == second.colour,
        "same_shape": first.shape.name == second.shape.name,
    }
    if abs(right) > 0.12:
        judged |= {"left": right < 0, "right": right > 0}
    if abs(down) > 0.12:
        judged |= {"above": down < 0, "below": down > 0}
    if max(ratio, 1 / ratio) > 1.6:
        judged["bigger"] = ratio > 1
    return judged


def place_words(scene: Scene, rng: np.random.Generator) -> list[Description]:
    """Words to ask places by, in random order: mostly full names, now and then a shape or a colour alone."""
    full = {describe(thing) for thing in scene.things}
    partial = {Description(words.shape, None) for words in full} | {
        Description(None, words.colour) for words in full
    }
    pool = [*sorted(full, key=str), *sorted(partial, key=str)]
    odds = np.array([1.0] * len(full) + [0.25] * len(partial))
    return [pool[index] for index in rng.choice(len(pool), len(pool), replace=False, p=odds / odds.sum())]


def count_words(scene: Scene, world: World, rng: np.random.Generator) -> list[Description]:
    """Words to count by, in random order: larger counts are likelier, and some fit nothing."""
    pool = [Description(shape.name, None) for shape in world.shapes]
    pool += [Description(None, colour.name) for colour in world.colours]
    pool += sorted({describe(thing) for thing in scene.things}, key=str)
    pool += [Description(a.shape.name, b.colour.name) for a in scene.things[:2] for b in scene.things[:2]]
    pool = list(dict.fromkeys(pool))
    counts = np.array([sum(words.fits(thing) for thing in scene.things) for words in pool])
    odds = np.where(counts == 0, 0.12, counts.astype(np.float64) ** 2)
    return [pool[index] for index in rng.choice(len(pool), len(pool), replace=False, p=odds / odds.sum())]


def _boxes_round(
    scene: Scene,
    world: World,
    kind: str,
    task: str,
    question: str,
    found: list[Thing],
    words: list[Description],
) -> Round:
    item = reply(world, task, "item")
    parts = [
        item.format(a_thing=with_article(thing.name)).replace("<box>", f"<bbox_location{number}>")
        for number, thing in enumerate(found)
    ]
    said = [*words, *(describe(thing) for thing in found)]
    return Round(
        task=kind,
        question=question,
        answer=", ".join(parts) + ".",
        asked=(),
        boxed=tuple(found),
        descriptions=tuple(dict.fromkeys(said)),
        things=_touched(scene, said, found),
    )


def _absent(
    scene: Scene, world: World, rng: np.random.Generator, name: Description, earlier: Sequence[Round]
) -> Description:
    """A name that no object has, like `name` in colour or shape; often both are seen, not together."""
    said = [words for done in earlier for words in done.descriptions]
    alike = [Description(shape.name, name.colour) for shape in world.shapes]
    alike += [Description(name.shape, colour.name) for colour in world.colours]
    seen = [Description(a.shape.name, b.colour.name) for a in scene.things for b in scene.things]
    mixed = [words for words in alike if words in seen]
    # Seldom reached, so it isn't made before.
    anything = (Description(shape.name, colour.name) for shape in world.shapes for colour in world.colours)
    pools = [mixed, alike, anything] if rng.random() < 0.5 else [alike, anything]
    for pool in pools:
        free = [
            words
            for words in dict.fromkeys(pool)
            if not any(words.fits(other) for other in scene.things)
            and not any(words.overlaps(other) for other in said)
        ]
        if free:
            return free[int(rng.integers(len(free)))]
    raise AssertionError("a world has more names than a scene has objects")


def _touched(scene: Scene, words: Sequence[Description], things: Iterable[Thing]) -> frozenset[int]:
    described = [thing for thing in scene.things if any(item.fits(thing) for item in words)]
    return frozenset(thing.number for thing in [*described, *things])
