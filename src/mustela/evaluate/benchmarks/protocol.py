"""What a benchmark is: questions from official files, and a score of answers to them.

Asking and scoring are separate: an `Item` holds all that scoring needs, so answers can come from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mustela.errors import ConfigError
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import Kind, clean_phrase
from mustela.regions import Frame, Region, Scale


@dataclass(frozen=True)
class Item:
    """One question of a benchmark with what is true.

    `question` has `<region>` (or `<region1>`, `<region2>` ...) for its `regions`; boxes and regions are in
    pixels of `picture`, a path below the benchmark's folder ("" without a picture). `truth` holds JSON values
    that only this benchmark's scorer knows, `groups` the breakdowns that the question belongs to, such as
    {"class": "dog"}.
    """

    id: str
    kind: Kind
    picture: str
    image_wh: tuple[int, int] | None
    question: str
    regions: tuple[Region, ...] = ()
    reference: str = ""
    boxes: tuple[BoxXYXY, ...] = ()
    phrases: tuple[str, ...] = ()
    truth: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def answered(
        self,
        text: str,
        *,
        scale: Scale = "bins",
        image_wh: tuple[int, int] | None = None,
        frame: Frame | None = None,
    ) -> Prediction:
        """Return the prediction that answers this item with `text`; see `Prediction` for the rest."""
        return Prediction(
            question_id=self.id,
            kind=self.kind,
            picture=self.picture,
            image_wh=self.image_wh or image_wh,
            question=self.question,
            question_regions=self.regions,
            reference=self.reference,
            reference_boxes=self.boxes,
            reference_phrases=tuple(clean_phrase(phrase) for phrase in self.phrases)
            or ("",) * len(self.boxes),
            text=text,
            scale=scale,
            frame=frame,
        )


@dataclass(frozen=True)
class Answer:
    """An item with what was answered; `missing` when nothing was, and the prediction's text is empty."""

    item: Item
    prediction: Prediction
    missing: bool = False


class Judge(Protocol):
    """A language model that grades answers; see `mustela.evaluate.benchmarks.judge`."""

    def ask(self, prompt: str) -> str | None:
        """Return the judge's answer to a prompt, None when it failed."""

    def usage(self) -> dict[str, Any]:
        """Return requests, answers from the cache, failures, tokens and the price."""


class SentenceEncoder(Protocol):
    """What turns texts into vectors."""

    def similarities(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """Return the cosine of each text of `first` with its partner in `second`."""


@dataclass(frozen=True)
class ScoreTools:
    """What some scorers need besides the answers: a judge, a sentence encoder, a seed.

    With `swap` the judge is asked a second time with the order turned round.
    """

    judge: Judge | None = None
    swap: bool = True
    encoder: SentenceEncoder | None = None
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """What a scorer found.

    `figures` are measures by name, the main one first; `questions` holds every answer's own scores by name,
    in the order of the answers, among them the main figure's where it is a mean over questions; an answer
    that a judge failed on has none. `failed` says which answers could not be read. `details` is whatever else
    belongs into `metrics.json`, `notes` are sentences for the person who reads the figures.
    """

    figures: Mapping[str, Mapping[str, Any]]
    questions: Sequence[Mapping[str, float]]
    failed: Sequence[bool]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needed:
    """A file of a benchmark: a path or pattern below its folder, and where it comes from.

    Alternatives are parted by " | ". `pictures` are needed for asking, not for scoring. With `splits` only
    those need it; `optional` files add a figure.
    """

    path: str
    source: str
    pictures: bool = False
    splits: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class LoadOptions:
    """How questions are made: the prompt with its `{...}` fields, and the seed of what is drawn."""

    prompt: str
    seed: int = 0


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    `load` returns the items of a split of a folder; `score` rates answers. `files` of a split are those with
    `{split}` filled in. `licence` and `size` are what the sources say, in words.
    """

    name: str
    title: str
    measures: str
    paper: str
    licence: str
    size: str
    splits: tuple[str, ...]
    files: tuple[Needed, ...]
    prompt: str
    load: Callable[[Path, str, LoadOptions], list[Item]]
    score: Callable[[Sequence[Answer], ScoreTools], Score]
    max_new_tokens: int = 256
    needs_judge: bool = False

    def items(
        self,
        root: str | Path,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
        pictures: bool = True,
    ) -> list[Item]:
        """Return the questions of a split in the order of the official files.

        `pictures=False` is for scoring: the folder may then lack the pictures.
        Raises ConfigError for an unknown split or missing files, RecordError for broken ones.
        """
        from mustela.evaluate.benchmarks.folder import check_folder

        chosen = self.check_split(split)
        missing = [
            entry
            for entry in check_folder(self, Path(root), chosen)
            if not entry.found and not entry.optional and (pictures or not entry.pictures)
        ]
        if missing:
            wanted = "; ".join(f"{entry.path} (from {entry.source})" for entry in missing)
            raise ConfigError(
                f"{root} lacks files of {self.title}: {wanted}. `mustela benchmarks {self.name}` says more."
            )
        return self.load(Path(root), chosen, LoadOptions(prompt or self.prompt, seed))

    def check_split(self, split: str | None) -> str:
        """Return the split, the first one for None; a ConfigError if there is no such."""
        if split is None:
            return self.splits[0]
        if split not in self.splits:
            raise ConfigError(f"{self.name} has no split {split!r}. Choose one of: {', '.join(self.splits)}.")
        return split
