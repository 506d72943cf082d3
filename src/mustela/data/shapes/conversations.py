"""Conversations: rounds that go together, as none gives away the answer of a later one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mustela.data.shapes.marks import MARK_KINDS, Mark, mark_thing
from mustela.data.shapes.questions import (
    ask_count,
    ask_everything,
    ask_name,
    ask_place,
    ask_presence,
    ask_relation,
    count_words,
    place_words,
)
from mustela.data.shapes.rounds import Description, Round, compatible, describe
from mustela.data.shapes.scene import Scene, Thing
from mustela.data.shapes.world import World

Conversation = list[Round]


def naming(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """First stage: a mark, a name, nothing else, for every object; no name comes twice in a conversation."""
    left = [
        ask_name(scene, world, rng, _mark(scene, thing, rng), task="refer_short")
        for thing in _shuffled(scene, rng)
    ]
    conversations: list[Conversation] = []
    while left:
        rounds = _fill([], left, limit=len(left))
        conversations.append(rounds)
        left = [item for item in left if item not in rounds]
    return conversations


def detection(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """Second stage: one short request, every object with its box."""
    return [[ask_everything(scene, world, rng, task="detect_short")]]


def short_questions(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """All that can be asked of a picture in few words; rounds that give others away, to be trained apart."""
    things = _shuffled(scene, rng)
    names = _names(things)
    rounds = [
        ask_name(scene, world, rng, _mark(scene, thing, rng), task="refer_short")
        for thing in things
        for _ in range(2)
    ]
    rounds += [ask_place(scene, world, rng, words, task="ground_short") for words in names]
    rounds += [ask_presence(scene, world, rng, words, task="presence_short") for words in names]
    rounds += detection(scene, world, rng)[0]
    return [_reordered(rounds, rng)]


def all_questions(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """All tasks in full sentences; rounds that give others away, to be trained apart."""
    things = _shuffled(scene, rng)
    names = _names(things)
    rounds = [ask_name(scene, world, rng, _mark(scene, thing, rng)) for thing in things]
    places = [*names, *place_words(scene, rng)[:2]]
    rounds += [ask_place(scene, world, rng, words) for words in places]
    rounds += [ask_presence(scene, world, rng, words) for words in names for _ in range(2)]
    rounds += [ask_count(scene, world, rng, words) for words in count_words(scene, world, rng)[:2]]
    rounds.append(_relation(scene, world, rng, things))
    rounds.append(ask_everything(scene, world, rng))
    return [_reordered(rounds, rng)]


def mixture(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """Last stage: all tasks in full sentences, five conversations a picture."""
    return [
        _fill(
            [],
            (ask_name(scene, world, rng, _mark(scene, thing, rng)) for thing in _shuffled(scene, rng)),
            limit=4,
        ),
        _fill([], (ask_place(scene, world, rng, words) for words in place_words(scene, rng)), limit=3),
        [ask_everything(scene, world, rng)],
        _presences(scene, world, rng),
        _medley(scene, world, rng),
    ]


def examination(scene: Scene, world: World, rng: np.random.Generator) -> list[Conversation]:
    """Held-out questions of all tasks, each in a conversation of its own."""
    things = _shuffled(scene, rng)
    kinds = [MARK_KINDS[index] for index in rng.permutation(len(MARK_KINDS))]
    rounds: list[Round] = [
        ask_name(scene, world, rng, mark_thing(scene, thing, rng, kind=kind))
        for thing, kind in zip(things, (kinds[0], kinds[1]), strict=False)
    ]
    rounds += [ask_place(scene, world, rng, words) for words in place_words(scene, rng)[:2]]
    rounds += [ask_presence(scene, world, rng, describe(thing)) for thing in things[:2]]
    rounds.append(ask_count(scene, world, rng, count_words(scene, world, rng)[0]))
    pair = [mark_thing(scene, thing, rng) for thing in things[:2]]
    rounds.append(ask_relation(scene, world, rng, pair[0], pair[1]))
    rounds.append(ask_everything(scene, world, rng))
    return [[item] for item in rounds]


def _presences(scene: Scene, world: World, rng: np.random.Generator) -> Conversation:
    """Up to three presence questions, whose number doesn't depend on their answers, then a count."""
    if rng.random() < 0.15:
        return [ask_count(scene, world, rng, Description(None, None))]
    rounds: Conversation = []
    for name in dict.fromkeys(describe(thing) for thing in _shuffled(scene, rng)):
        if len(rounds) < 3:
            rounds.append(ask_presence(scene, world, rng, name, earlier=rounds))
    counts = (ask_count(scene, world, rng, words) for words in count_words(scene, world, rng))
    return _fill(rounds, counts, limit=len(rounds) + 1)


def _medley(scene: Scene, world: World, rng: np.random.Generator) -> Conversation:
    """Different tasks in random order, each about objects that no other round speaks of."""
    rounds: Conversation = []
    tasks = rng.permutation(["refer", "ground", "presence", "count", "relation"]).tolist()
    if rng.random() < 0.6:
        # It needs two objects, which are rarely left when it comes last.
        tasks.sort(key=lambda task: task != "relation")
    for task in tasks:
        candidates: Iterable[Round]
        free = [
            thing
            for thing in _shuffled(scene, rng)
            # A presence question about a known object could only be answered no, which would give it away.
            if not any(thing.number in done.things for done in rounds)
            and not any(words.fits(thing) for done in rounds for words in done.descriptions)
        ]
        if task == "refer":
            candidates = (ask_name(scene, world, rng, _mark(scene, thing, rng)) for thing in free)
        elif task == "ground":
            candidates = (ask_place(scene, world, rng, words) for words in place_words(scene, rng))
        elif task == "presence":
            candidates = [ask_presence(scene, world, rng, describe(free[0]), earlier=rounds)] if free else []
        elif task == "count":
            candidates = (ask_count(scene, world, rng, words) for words in count_words(scene, world, rng))
        else:
            candidates = [_relation(scene, world, rng, free)] if len(free) > 1 else []
        rounds = _fill(rounds, candidates, limit=len(rounds) + 1)
    return rounds


def _relation(scene: Scene, world: World, rng: np.random.Generator, things: list[Thing]) -> Round:
    return ask_relation(scene, world, rng, _mark(scene, things[0], rng), _mark(scene, things[1], rng))


def _mark(scene: Scene, thing: Thing, rng: np.random.Generator) -> Mark:
    """A training mark; half of the boxes and points carry the object's mask, to learn both ways."""
    return mark_thing(scene, thing, rng, with_mask=bool(rng.random() < 0.5))


def _fill(rounds: Conversation, candidates: Iterable[Round], *, limit: int) -> Conversation:
    """`rounds` and the candidates that fit in with them, up to `limit` rounds."""
    chosen = list(rounds)
    for candidate in candidates:
        if len(chosen) >= limit:
            break
        if compatible(candidate, chosen):
            chosen.append(candidate)
    return chosen


def _shuffled(scene: Scene, rng: np.random.Generator) -> list[Thing]:
    return [scene.things[index] for index in rng.permutation(len(scene.things))]


def _reordered(rounds: Conversation, rng: np.random.Generator) -> Conversation:
    """Rounds in random order, so that of a row that is cut short no task is lost."""
    return [rounds[index] for index in rng.permutation(len(rounds))]


def _names(things: Iterable[Thing]) -> list[Description]:
    """Full words for every kind of object, each once."""
    return list(dict.fromkeys(describe(thing) for thing in things))
