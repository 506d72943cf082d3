"""Conversations of one scene: a record for each task, so that no answer stands in another task's question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from mustela.data.record import Record, RegionAnnotation, Turn
from mustela.data.tasks.census import Census
from mustela.data.tasks.phrasings import Phrasings
from mustela.data.tasks.placed import PlacedScene, PlacedThing
from mustela.errors import ConfigError

Task = Literal[
    "refer",
    "attributes",
    "relation",
    "ground",
    "detect",
    "presence",
    "caption",
    "dense_refer",
    "dense_detect",
]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
Order = Literal["raster", "size", "given"]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What is asked, and how much.

    Args:
        tasks: which conversations to make of each picture.
        max_rounds: questions in a conversation at most.
        max_boxes: boxes in an answer at most; a question with more is not asked, as part of a list of all
            would be a lie.
        order: of the boxes in an answer: "raster" (rows of an eighth of the height, then from the left),
            "size" (the largest first) or "given".
        min_side: objects with a shorter side, in pixels, are not asked about by their region.
        balance: 0 asks about objects as often as they come, 1 about common names no more than about the
            median one; see `mustela.data.tasks.census.Census.keep_share`.
        absent_share: share of questions about names that aren't there, in "ground".
        seed: of all choices.
    """

    tasks: tuple[Task, ...] = ("refer", "ground")
    max_rounds: int = 6
    max_boxes: int = 20
    order: Order = "raster"
    min_side: float = 0.0
    balance: float = 0.0
    absent_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise ConfigError(f"task is {task!r}. Choose of: {', '.join(TASKS)}.")
        if self.order not in get_args(Order):
            raise ConfigError(f"order is {self.order!r}. Choose one of: {', '.join(get_args(Order))}.")
        for name, value in (("max_rounds", self.max_rounds), ("max_boxes", self.max_boxes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}. It is at least 1.")
        for name, share in (("balance", self.balance), ("absent_share", self.absent_share)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}. It is a share from 0 to 1.")


@dataclass(slots=True)
class _Side:
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


Round: TypeAlias = tuple[_Side, _Side]


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
        rounds = _MAKERS[task](_Making(scene, phrasings, census, options, rng))[: options.max_rounds]
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


@dataclass(frozen=True, slots=True)
class _Making:
    scene: PlacedScene
    phrasings: Phrasings
    census: Census
    options: TaskOptions
    rng: np.random.Generator

    def say(self, task: str, part: str, **values: str) -> str:
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

    def items(self, task: str, answer: _Side, things: Sequence[PlacedThing]) -> str:
        """Return a list of objects with their boxes."""
        return self.phrasings.join(
            [self.say(task, "item", name=thing.name, region=answer.box(thing)) for thing in things]
        )


def _short_side(thing: PlacedThing) -> float:
    x1, y1, x2, y2 = thing.annotation.region.bounds_xyxy()
    return min(x2 - x1, y2 - y1)


def _refer(make: _Making) -> list[Round]:
    rounds = []
    for thing in make.shuffled():
        question, answer = _Side(), _Side()
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


def _attributes(make: _Making) -> list[Round]:
    rounds = []
    for thing in make.shuffled():
        if thing.attributes and thing.name:
            question, answer = _Side(), _Side()
            question.text = make.say(
                "attributes", "ask", name=thing.name, region=question.mark(thing.annotation)
            )
            listed = make.phrasings.join(list(dict.fromkeys(thing.attributes)))
            answer.text = make.say("attributes", "answer", name=thing.name, attributes=listed)
            rounds.append((question, answer))
    return rounds


def _relation(make: _Making) -> list[Round]:
    rounds = []
    relations = make.scene.relations
    for place in make.rng.permutation(len(relations)):
        relation = relations[int(place)]
        subject, other = make.scene.things[relation.subject], make.scene.things[relation.object]
        if subject.box is None or other.box is None or not (subject.name and other.name):
            continue
        question, answer = _Side(), _Side()
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


def _ground(make: _Making) -> list[Round]:
    rounds: list[Round] = []
    for thing in make.shuffled():
        if thing.phrases and thing.box is not None:
            phrase = thing.phrases[int(make.rng.integers(len(thing.phrases)))]
            question, answer = _Side(make.say("ground_phrase", "ask", phrase=phrase)), _Side()
            answer.text = make.say("ground_phrase", "answer", phrase=phrase, region=answer.box(thing))
            rounds.append((question, answer))
    for name in dict.fromkeys(thing.name for thing in make.shuffled() if thing.name and not thing.phrases):
        things = make.all_of(name) if make.kept(name) else None
        if things:
            question, answer = _Side(make.say("ground", "ask", name=name)), _Side()
            answer.text = make.say("ground", "answer", items=make.items("ground", answer, things))
            rounds.append((question, answer))
    rounds = rounds[: make.options.max_rounds]
    # One place in the conversation is drawn for a name that isn't there; with too few rounds it is one more.
    if make.rng.random() < make.options.absent_share * max(len(rounds), 1):
        for name in make.absent(1):
            question = _Side(make.say("ground", "ask", name=name))
            refusal = (question, _Side(make.say("ground", "none", name=name)))
            rounds = rounds[: make.options.max_rounds - 1]
            rounds.insert(int(make.rng.integers(len(rounds) + 1)), refusal)
    return rounds


def _presence(make: _Making) -> list[Round]:
    half = max(1, make.options.max_rounds // 2)
    names = dict.fromkeys(thing.name for thing in make.shuffled() if thing.name)
    rounds: list[Round] = []
    for name in [name for name in names if make.kept(name)][:half]:
        things = make.ordered([thing for thing in make.scene.things if thing.name == name])
        if things:
            answer = _Side()
            answer.text = make.say("presence", "yes", name=name, region=answer.box(things[0]))
            rounds.append((_Side(make.say("presence", "ask", name=name)), answer))
    # As many no as yes, so that neither answer is the better guess.
    for name in make.absent(max(1, len(rounds))):
        answer = _Side(make.say("presence", "no", name=name))
        rounds.append((_Side(make.say("presence", "ask", name=name)), answer))
    return [rounds[int(place)] for place in make.rng.permutation(len(rounds))]


def _detect(make: _Making) -> list[Round]:
    things = make.scene.things
    known = make.scene.exhaustive and make.scene.complete and not make.scene.partial
    if not (known and things) or len(things) > make.options.max_boxes:
        return []
    if any(thing.box is None or not thing.name for thing in things):
        return []
    answer = _Side()
    answer.text = make.say("detect", "answer", items=make.items("detect", answer, make.ordered(things)))
    return [(_Side(make.say("detect", "ask")), answer)]


def _caption(make: _Making) -> list[Round]:
    captions = make.scene.captions
    if not captions:
        return []
    caption = captions[int(make.rng.integers(len(captions)))]
    task = "caption_boxes" if caption.regions else "caption"
    return [(_Side(make.say(task, "ask")), _Side(caption.text, list(caption.regions)))]


def _dense_refer(make: _Making) -> list[Round]:
    named = [thing for thing in make.scene.things if thing.name]
    things = make.ordered(named)[: make.options.max_boxes]
    if len(things) < 2:
        return []
    question = _Side()
    marks = make.phrasings.separator.join([question.mark(thing.annotation) for thing in things])
    question.text = make.say("dense_refer", "ask", regions=marks)
    names = make.phrasings.join([make.say("dense_refer", "item", name=thing.name) for thing in things])
    return [(question, _Side(make.say("dense_refer", "answer", items=names)))]


def _dense_detect(make: _Making) -> list[Round]:
    names = sorted({thing.name for thing in make.scene.things if thing.name})
    known = {name: things for name in names if (things := make.all_of(name))}
    things = [thing for name in known for thing in known[name]]
    if not things or len(things) > make.options.max_boxes:
        return []
    asked = [list(known)[int(place)] for place in make.rng.permutation(len(known))]
    question = _Side(make.say("dense_detect", "ask", names=make.phrasings.join(asked)))
    answer = _Side()
    answer.text = make.say(
        "dense_detect", "answer", items=make.items("dense_detect", answer, make.ordered(things))
    )
    return [(question, answer)]


_MAKERS: Final[dict[Task, Callable[[_Making], list[Round]]]] = {
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
