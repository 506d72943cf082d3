"""The report: one HTML file with everything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError
from mustela.evaluate.curves import read_curves
from mustela.evaluate.evaluation_folder import EVALUATION, METRICS, PREDICTIONS
from mustela.evaluate.gallery import Card, make_card, pick, question_score
from mustela.evaluate.page import PAGE
from mustela.evaluate.predictions import Prediction, read_predictions
from mustela.evaluate.sections import headline, sections
from mustela.pages import render_page, write_page

REPORT = "report.html"
_RIGHT = 0.5


@dataclass(frozen=True)
class Gallery:
    """A titled row of pictures."""

    anchor: str
    title: str
    lead: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation left in its folder."""

    folder: Path
    metrics: Mapping[str, Any]
    predictions: Mapping[str, Prediction]
    card: Mapping[str, Any]

    @property
    def about(self) -> Mapping[str, str]:
        """Names of the model and the data, where known."""
        about: Mapping[str, str] = self.card.get("about", {})
        return about


def read_evaluation(folder: str | Path) -> Evaluation:
    """Read the files of an evaluation. Raises ConfigError when the folder has no complete one."""
    path = Path(folder)
    for name in (METRICS, PREDICTIONS):
        if not (path / name).is_file():
            raise ConfigError(
                f"{path} holds no complete evaluation: {name} is missing. Run mustela evaluate first."
            )
    card = path / EVALUATION
    return Evaluation(
        folder=path,
        metrics=json.loads((path / METRICS).read_text(encoding="utf-8")),
        predictions=read_predictions(path / PREDICTIONS),
        card=json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {},
    )


def write_report(
    evaluation_dir: str | Path,
    *,
    image_folder: str | Path | None,
    run_dir: str | Path | None = None,
    out: str | Path | None = None,
    title: str | None = None,
    pictures: int = 12,
    seed: int = 0,
) -> Path:
    """Write `report.html` for an evaluation and return its path.

    Args:
        evaluation_dir: where `evaluate` wrote.
        image_folder: where the records' image paths begin; pictures that can't be read leave a note.
        run_dir: a training run whose `log.jsonl` gives the curves; without it `evaluation_dir` is looked at.
        out: the file to write; `report.html` in the evaluation's folder when None.
        title: the heading; the model's name when None.
        pictures: how many pictures each of the three galleries shows at most.
        seed: of the drawn pictures.

    Raises:
        ConfigError: there is no complete evaluation in the folder.
    """
    found = read_evaluation(evaluation_dir)
    metrics = found.metrics
    curves = read_curves(Path(run_dir or evaluation_dir) / "log.jsonl")
    html = render_page(
        PAGE,
        "report.html.jinja",
        title=title or found.about.get("model", "Evaluation"),
        lead=_lead(found),
        headline=headline(metrics),
        curves=curves,
        sections=sections(metrics),
        galleries=_galleries(list(found.predictions.values()), image_folder, count=pictures, seed=seed),
        iou_convention=metrics["iou_convention"],
        footer=footer(found),
    )
    return write_page(out or found.folder / REPORT, html)


def _lead(found: Evaluation) -> str:
    questions, pictures = found.metrics["questions"]["total"], found.metrics["pictures"]
    data = found.about.get("data")
    where = f" of {data}" if data else ""
    asked, seen = (
        f"{n} {what}{'s' if n != 1 else ''}" for n, what in ((questions, "question"), (pictures, "picture"))
    )
    return f"{asked} about {seen}{where}, each asked in a conversation of its own."


def _galleries(
    predictions: Sequence[Prediction], image_folder: str | Path | None, *, count: int, seed: int
) -> list[Gallery]:
    with_picture = [item for item in predictions if item.image_wh is not None]
    scores = {item.question_id: question_score(item) for item in with_picture}

    def cards(chosen: Sequence[Prediction]) -> list[Card]:
        return [make_card(item, image_folder=image_folder) for item in chosen]

    best = pick(
        with_picture,
        order=lambda item: -scores[item.question_id],
        keep=lambda item: scores[item.question_id] >= _RIGHT,
        count=count,
        seed=seed,
    )
    worst = pick(
        with_picture,
        order=lambda item: scores[item.question_id],
        keep=lambda item: scores[item.question_id] < _RIGHT,
        count=count,
        seed=seed,
    )
    drawn = pick(with_picture, order=lambda _: 0.0, count=count, seed=seed + 1)
    galleries = [
        Gallery(
            "best", "Where it is right", "The best answers, every kind of question in turn.", cards(best)
        ),
        Gallery(
            "worst", "Where it goes wrong", "The worst answers, every kind of question in turn.", cards(worst)
        ),
        Gallery("random", "Drawn at random", "Neither good nor bad on purpose.", cards(drawn)),
    ]
    return [gallery for gallery in galleries if gallery.cards]


def footer(found: Evaluation) -> str:
    """Return what exactly was evaluated."""
    card = found.card
    parts = [f"{name}: {value}" for name, value in found.about.items()]
    for name, key in (("weights", "model_fingerprint"), ("questions", "questions_fingerprint")):
        if key in card:
            parts.append(f"{name} {card[key]}")
    return " · ".join(parts)
