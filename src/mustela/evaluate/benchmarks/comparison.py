"""Several evaluations of the same benchmarks side by side: figures, differences, breakdowns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError
from mustela.evaluate.benchmarks.items_file import QUESTIONS, read_items
from mustela.evaluate.benchmarks.joining import join, read_answers
from mustela.evaluate.benchmarks.protocol import Item
from mustela.evaluate.benchmarks.scoring import SCORES
from mustela.evaluate.evaluation_folder import EVALUATION, METRICS, PREDICTIONS
from mustela.evaluate.intervals import MIN_PICTURES, PairedDifference, paired_difference
from mustela.evaluate.predictions import Prediction

RIGHT = 0.5


@dataclass(frozen=True)
class Result:
    """A folder that `mustela evaluate --benchmark` left.

    `scores` are the lines of `scores.jsonl` by question id, `name` is how the page calls the run.
    """

    folder: Path
    name: str
    metrics: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    items: list[Item]
    predictions: dict[str, Prediction]
    root: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Benchmark and split."""
        return str(self.metrics["benchmark"]), str(self.metrics["split"])

    @property
    def main(self) -> str:
        """The name of the main figure."""
        return str(self.metrics["main"])

    def score(self, name: str, figure: str) -> float | None:
        """Return a question's own score, None where it has none."""
        found = self.scores[name]["scores"].get(figure)
        return None if found is None else float(found)

    def is_right(self, name: str) -> bool | None:
        """Tell whether a question's main score is at least one half; None where it has none."""
        score = self.score(name, self.main)
        return None if score is None else score >= RIGHT


@dataclass(frozen=True)
class Difference:
    """A figure of a run minus that of the first run, on the questions that both have scores for.

    `paired` is None where the figure is no mean over questions, or there are fewer than 10 pictures.
    """

    change: float
    paired: PairedDifference | None

    @property
    def significant(self) -> bool:
        """Whether 0 lies outside the 95 % interval."""
        return self.paired is not None and (self.paired.low > 0 or self.paired.high < 0)


def read_result(folder: str | Path, *, name: str | None = None) -> Result:
    """Read a folder that `mustela evaluate --benchmark` left; a ConfigError says what it lacks."""
    where = Path(folder)
    wanted = (METRICS, SCORES, QUESTIONS, PREDICTIONS)
    lacking = [file for file in wanted if not (where / file).is_file()]
    if lacking:
        raise ConfigError(
            f"{where} is no finished benchmark evaluation: it lacks {', '.join(lacking)}. `mustela evaluate"
            " --benchmark` leaves one; two evaluations of a data file are compared by `mustela evaluate ..."
            " --compare DIR`."
        )
    metrics = json.loads((where / METRICS).read_text(encoding="utf-8"))
    if "benchmark" not in metrics:
        raise ConfigError(
            f"{where} holds an evaluation of a data file; --compare of `mustela evaluate` shows those."
        )
    lines = [json.loads(line) for line in (where / SCORES).read_text(encoding="utf-8").splitlines()]
    items = read_items(where / QUESTIONS)
    card = where / EVALUATION
    about = json.loads(card.read_text(encoding="utf-8")).get("about", {}) if card.is_file() else {}
    joined = join(items, read_answers(where / PREDICTIONS))
    return Result(
        folder=where,
        name=name or where.name.removeprefix(f"{metrics['benchmark']}-{metrics['split']}-"),
        metrics=metrics,
        scores={line["id"]: line for line in lines},
        items=items,
        predictions={answer.item.id: answer.prediction for answer in joined.answers},
        root=about.get("root"),
    )


def group_results(results: Sequence[Result]) -> list[list[Result]]:
    """Return results of the same questions together, in the order of their first.

    Raises ConfigError when two evaluations of one benchmark and split asked other questions.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    for same in groups.values():
        for other in same[1:]:
            differing = _differing(same[0], other)
            if differing:
                raise ConfigError(
                    f"{same[0].folder} and {other.folder} did not ask the same questions of "
                    f"{same[0].key[0]}: {differing} differ. Evaluate both with the same files, "
                    "limit and seed."
                )
    return list(groups.values())


def _differing(first: Result, second: Result) -> int:
    """Count the questions that differ in id or truth; the wording of the prompt may."""

    def truth(item: Item) -> tuple[Any, ...]:
        return item.picture, item.boxes, item.regions, item.reference

    one = {item.id: truth(item) for item in first.items}
    two = {item.id: truth(item) for item in second.items}
    return sum(one.get(name) != two.get(name) for name in one.keys() | two.keys())


def difference(first: Result, other: Result, figure: str, *, seed: int = 0) -> Difference:
    """Return the difference of a figure between two results of the same questions."""
    change = float(other.metrics["figures"][figure]["value"] - first.metrics["figures"][figure]["value"])
    rows = []
    for item in first.items:
        pair = (first.score(item.id, figure), other.score(item.id, figure))
        if pair[0] is not None and pair[1] is not None:
            rows.append((pair[1] - pair[0], item.picture))
    if len({picture for _, picture in rows}) < MIN_PICTURES:
        return Difference(change, None)
    paired = paired_difference([delta for delta, _ in rows], [picture for _, picture in rows], seed=seed)
    return Difference(change, paired)


def disagreements(right: Result, wrong: Result) -> list[str]:
    """Return the ids of the questions that one run has right and the other wrong, in the order of asking."""
    return [
        item.id
        for item in right.items
        if right.is_right(item.id) is True and wrong.is_right(item.id) is False
    ]
