"""Conversations of one scene: a record for each task, so that no answer stands in another task's question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mustela.data.record import Record, Turn
from mustela.data.tasks.census import Census
from mustela.data.tasks.making import Making, Round, Side
from mustela.data.tasks.options import TASKS, Task, TaskOptions
from mustela.data.tasks.phrasings import Phrasings
from mustela.data.tasks.placed import PlacedScene


def compose(
    scene: PlacedScene, *, phrasings: Phrasings, census: Census, options: TaskOptions, number: int
) -> list[Record]:
    """Return the records of a scene, at most one a task.

    Args:
        scene: what is known of the picture.
        phrasings: how to say it.
        census: counts over the whole data set.
        options: what to ask.
        number: of the scene in the data set; with the seed and the task, it decides all choices.
    """
    records = []
    for task in options.tasks:
        rng = np.random.default_rng([options.seed, number, TASKS.index(task)])
        rounds = _MAKERS[task](Making(scene, phrasings, census, options, rng))[: options.max_rounds]
        if rounds:
            records.append(_record(scene, task, rounds))
    return records


def _record(scene: PlacedScene, task: Task, rounds: Sequence[Round]) -> Record:
    turns = []
    for place, (question, answer) in enumerate(rounds):
        text = question.text if place else f"<image>\n{question.text}"
        turns += [
            Turn("user", text, tuple(question.regions)),
            Turn("assistant", answer.text, tuple(answer.regions)),
        ]
    return Record(f"{scene.id}-{task}", (scene.image,), tuple(turns))


def _refer(make: Making) -> list[Round]:
    rounds = []
    for thing in make.shuffled():
        question, answer = Side(), Side()
        region = question.mark(thing.annotation)
        if thing.phrases:
            question.text = make.say("refer_phrase", "ask", region=region)
            phrase = thing.phrases[int(make.rng.integers(len(thing.phrases)))]
            answer.text = make.say("refer_phrase", "answer", phrase=phrase)
        elif thing.name and make.kept(thing.name):
            question.text = make.say("refer", "ask", region=region)
            answer.text = make.say("refer", "answer", name=thing.name)
        else:
            continue
        rounds.append((question, answer))
    return rounds


def _attributes(make: Making) -> list[Round]:
    rounds = []
    for thing in make.shuffled():
        if thing.attributes and thing.name:
            question, answer = Side(), Side()
            question.text = make.say(
                "attributes", "ask", name=thing.name, region=question.mark(thing.annotation)
            )
            listed = make.phrasings.join(list(dict.fromkeys(thing.attributes)))
            answer.text = make.say("attributes", "answer", name=thing.name, attributes=listed)
            rounds.append((question, answer))
    return rounds


def _relation(make: Making) -> list[Round]:
    rounds = []
    relations = make.scene.relations
    for place in make.rng.permutation(len(relations)):
        relation = relations[int(place)]
        subject, other = make.scene.things[relation.subject], make.scene.things[relation.object]
        if subject.box is None or other.box is None or not (subject.name and other.name):
            continue
        question, answer = Side(), Side()
        region, mark = question.mark(subject.annotation), question.mark(other.annotation)
        question.text = make.say("relation", "ask", region=region, other=mark)
        answer.text = make.say(
            "relation",
            "answer",
            name=subject.name,
            region=answer.box(subject),
            predicate=relation.predicate,
            object=other.name,
            other=answer.box(other),
        )
        rounds.append((question, answer))
    return rounds


def _ground(make: Making) -> list[Round]:
    rounds: list[Round] = []
    for thing in make.shuffled():
        if thing.phrases and thing.box is not None:
            phrase = thing.phrases[int(make.rng.integers(len(thing.phrases)))]
            question, answer = Side(make.say("ground_phrase", "ask", phrase=phrase)), Side()
            answer.text = make.say("ground_phrase", "answer", phrase=phrase, region=answer.box(thing))
            rounds.append((question, answer))
    for name in dict.fromkeys(thing.name for thing in make.shuffled() if thing.name and not thing.phrases):
        things = make.all_of(name) if make.kept(name) else None
        if things:
            question, answer = Side(make.say("ground", "ask", name=name)), Side()
            answer.text = make.say("ground", "answer", items=make.items("ground", answer, things))
            rounds.append((question, answer))
    rounds = rounds[: make.options.max_rounds]
    # One place in the conversation is drawn for a name that isn't there; with too few rounds it is one more.
    if make.rng.random() < make.options.absent_share * max(len(rounds), 1):
        for name in make.absent(1):
            question = Side(make.say("ground", "ask", name=name))
            refusal = (question, Side(make.say("ground", "none", name=name)))
            rounds = rounds[: make.options.max_rounds - 1]
            rounds.insert(int(make.rng.integers(len(rounds) + 1)), refusal)
    return rounds


def _presence(make: Making) -> list[Round]:
    half = max(1, make.options.max_rounds // 2)
    names = dict.fromkeys(thing.name for thing in make.shuffled() if thing.name)
    rounds: list[Round] = []
    for name in [name for name in names if make.kept(name)][:half]:
        things = make.ordered([thing for thing in make.scene.things if thing.name == name])
        if things:
            answer = Side()
            answer.text = make.say("presence", "yes", name=name, region=answer.box(things[0]))
            rounds.append((Side(make.say("presence", "ask", name=name)), answer))
    # As many no as yes, so that neither answer is the better guess.
    for name in make.absent(max(1, len(rounds))):
        answer = Side(make.say("presence", "no", name=name))
        rounds.append((Side(make.say("presence", "ask", name=name)), answer))
    return [rounds[int(place)] for place in make.rng.permutation(len(rounds))]


def _detect(make: Making) -> list[Round]:
    things = make.scene.things
    known = make.scene.exhaustive and make.scene.complete and not make.scene.partial
    if not (known and things) or len(things) > make.options.max_boxes:
        return []
    if any(thing.box is None or not thing.name for thing in things):
        return []
    answer = Side()
    answer.text = make.say("detect", "answer", items=make.items("detect", answer, make.ordered(things)))
    return [(Side(make.say("detect", "ask")), answer)]


def _caption(make: Making) -> list[Round]:
    captions = make.scene.captions
    if not captions:
        return []
    caption = captions[int(make.rng.integers(len(captions)))]
    task = "caption_boxes" if caption.regions else "caption"
    return [(Side(make.say(task, "ask")), Side(caption.text, list(caption.regions)))]


def _dense_refer(make: Making) -> list[Round]:
    named = [thing for thing in make.scene.things if thing.name]
    things = make.ordered(named)[: make.options.max_boxes]
    if len(things) < 2:
        return []
    question = Side()
    marks = make.phrasings.separator.join([question.mark(thing.annotation) for thing in things])
    question.text = make.say("dense_refer", "ask", regions=marks)
    names = make.phrasings.join([make.say("dense_refer", "item", name=thing.name) for thing in things])
    return [(question, Side(make.say("dense_refer", "answer", items=names)))]


def _dense_detect(make: Making) -> list[Round]:
    names = sorted({thing.name for thing in make.scene.things if thing.name})
    known = {name: things for name in names if (things := make.all_of(name))}
    things = [thing for name in known for thing in known[name]]
    if not things or len(things) > make.options.max_boxes:
        return []
    asked = [list(known)[int(place)] for place in make.rng.permutation(len(known))]
    question = Side(make.say("dense_detect", "ask", names=make.phrasings.join(asked)))
    answer = Side()
    answer.text = make.say(
        "dense_detect", "answer", items=make.items("dense_detect", answer, make.ordered(things))
    )
    return [(question, answer)]


_MAKERS: Final[dict[Task, Callable[[Making], list[Round]]]] = {
    "refer": _refer,
    "attributes": _attributes,
    "relation": _relation,
    "ground": _ground,
    "detect": _detect,
    "presence": _presence,
    "caption": _caption,
    "dense_refer": _dense_refer,
    "dense_detect": _dense_detect,
}
