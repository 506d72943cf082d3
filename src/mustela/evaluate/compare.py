"""Two evaluations of the same questions side by side: before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError
from mustela.evaluate.answering import readable_question
from mustela.evaluate.curves import read_curves
from mustela.evaluate.gallery import make_card, pick, question_score
from mustela.evaluate.grounding import question_ious, score_at
from mustela.evaluate.intervals import paired_difference
from mustela.evaluate.page import PAGE
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import Question
from mustela.evaluate.report import Evaluation, Gallery, read_evaluation
from mustela.evaluate.sections import TITLES, headline_keys, measure_names
from mustela.pages import render_page, write_page

_RIGHT = 0.5


@dataclass(frozen=True)
class Change:
    """A measure before and after; `low` and `high` bound the change."""

    kind: str
    key: str
    name: str
    before: float
    after: float
    low: float
    high: float
    n: int
    level: float | None

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


def compare(before_dir: str | Path, after_dir: str | Path, *, seed: int = 0) -> list[Change]:
    """Return the changes of the main measures between two evaluations of the same questions.

    The 95 % interval of a change comes from resampling whole pictures (2000 times, seeded), the same ones on
    both sides, of the questions' own scores.

    Raises:
        ConfigError: the two did not ask the same questions.
    """
    before, after = read_evaluation(before_dir), read_evaluation(after_dir)
    _check_same(before, after)
    return [_change(kind, key, name, before, after, seed=seed) for kind, key, name in _keys(after)]


def _keys(found: Evaluation) -> list[tuple[str, str, str]]:
    return [entry for entry in headline_keys() if entry[0] in found.metrics["kinds"]]


def _check_same(before: Evaluation, after: Evaluation) -> None:
    other = before.predictions.keys() ^ after.predictions.keys()
    changed = [
        name
        for name in before.predictions.keys() & after.predictions.keys()
        if (before.predictions[name].question, before.predictions[name].reference)
        != (after.predictions[name].question, after.predictions[name].reference)
    ]
    if other or changed:
        raise ConfigError(
            f"{before.folder} and {after.folder} did not ask the same questions: "
            f"{len(other)} are in one only, {len(changed)} differ. Evaluate both models on the same file."
        )


def check_questions(before_dir: str | Path, questions: Sequence[Question]) -> None:
    """Make sure that an evaluation asked these questions.

    Raises:
        ConfigError: it is not complete, or asked others.
    """
    before = read_evaluation(before_dir)
    asked = {question.id: readable_question(question) for question in questions}
    other = len(before.predictions.keys() ^ asked.keys())
    changed = sum(
        found.question != asked[name] for name, found in before.predictions.items() if name in asked
    )
    if other or changed:
        raise ConfigError(
            f"{before.folder} did not ask the questions of this evaluation: {other} are in one only, "
            f"{changed} differ. Evaluate both models on the same file, with the same --limit."
        )


def _change(kind: str, key: str, name: str, before: Evaluation, after: Evaluation, *, seed: int) -> Change:
    old, new = before.metrics["kinds"][kind][key], after.metrics["kinds"][kind][key]
    asked = [item for item in after.predictions.values() if item.kind == kind]
    threshold_scores = key == "acc_50"
    differences = [
        _score(item, at_50=threshold_scores)
        - _score(before.predictions[item.question_id], at_50=threshold_scores)
        for item in asked
    ]
    paired = paired_difference(differences, [item.picture for item in asked], seed=seed)
    level = max(new["levels"].values(), default=None)
    return Change(kind, key, name, old["value"], new["value"], paired.low, paired.high, len(asked), level)


def _score(prediction: Prediction, *, at_50: bool) -> float:
    return score_at(question_ious(prediction), 0.5) if at_50 else question_score(prediction)


def write_comparison(
    before_dir: str | Path,
    after_dir: str | Path,
    *,
    image_folder: str | Path | None,
    out: str | Path,
    run_dir: str | Path | None = None,
    title: str = "Before and after",
    pictures: int = 12,
    seed: int = 0,
) -> Path:
    """Write an HTML page that shows two evaluations of the same questions, and return its path.

    Arguments as for `write_report`; `run_dir` is the training between the two. Raises ConfigError when the
    two did not ask the same questions.
    """
    before, after = read_evaluation(before_dir), read_evaluation(after_dir)
    changes = compare(before_dir, after_dir, seed=seed)
    groups = [
        {"title": TITLES[kind][0], "rows": _measure_rows(kind, before, after)}
        for kind in TITLES
        if kind in after.metrics["kinds"]
    ]
    html = render_page(
        PAGE,
        "compare.html.jinja",
        title=title,
        lead=f"{len(after.predictions)} questions, asked of {' and of '.join(_names(before, after))}.",
        headline=changes,
        groups=groups,
        curves=read_curves(Path(run_dir) / "log.jsonl") if run_dir is not None else None,
        galleries=_galleries(before.predictions, after.predictions, image_folder, count=pictures, seed=seed),
        iou_convention=after.metrics["iou_convention"],
        footer=f"{before.folder} and {after.folder}",
    )
    return write_page(out, html)


def _measure_rows(kind: str, before: Evaluation, after: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for key, (name, _) in measure_names(kind).items():
        old, new = before.metrics["kinds"][kind][key], after.metrics["kinds"][kind][key]
        rows.append({"name": name, "before": old["value"], "after": new["value"], "n": new["n"]})
    return rows


def _names(before: Evaluation, after: Evaluation) -> tuple[str, str]:
    """Return the models' names, or the folders' where both models have one name."""
    names = _name(before), _name(after)
    if names[0] == names[1]:
        names = before.folder.resolve().name, after.folder.resolve().name
    return names if names[0] != names[1] else (str(before.folder), str(after.folder))


def _name(found: Evaluation) -> str:
    return found.about.get("model", str(found.folder))


def _galleries(
    before: Mapping[str, Prediction],
    after: Mapping[str, Prediction],
    image_folder: str | Path | None,
    *,
    count: int,
    seed: int,
) -> list[Gallery]:
    gains = {name: question_score(item) - question_score(before[name]) for name, item in after.items()}

    def right(item: Prediction) -> bool:
        return question_score(item) >= _RIGHT

    def gallery(title: str, lead: str, *, learned: bool) -> Gallery:
        chosen = pick(
            [item for item in after.values() if item.image_wh is not None],
            order=lambda item: -gains[item.question_id] if learned else gains[item.question_id],
            keep=lambda item: right(item) is learned and right(before[item.question_id]) is not learned,
            count=count,
            seed=seed,
        )
        cards = [
            make_card(item, image_folder=image_folder, earlier=before[item.question_id]) for item in chosen
        ]
        return Gallery("", title, lead, cards)

    found = [
        gallery(
            "Learned", "Wrong before, right after. The boxes are those of the answer after.", learned=True
        ),
        gallery("Forgotten", "Right before, wrong after.", learned=False),
    ]
    return [item for item in found if item.cards]
