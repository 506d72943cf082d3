"""From answers to `metrics.json` and `scores.jsonl` of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.figures import coco_size
from mustela.evaluate.benchmarks.joining import Joined
from mustela.evaluate.benchmarks.protocol import Answer, Benchmark, Score, ScoreTools
from mustela.evaluate.intervals import CONFIDENCE
from mustela.evaluate.matching import IOU_CONVENTION
from mustela.evaluate.measure import measure, measure_groups
from mustela.regions import Box, box_area

SCORES = "scores.jsonl"
MAX_GROUPS = 1300
_LISTED = 20


@dataclass(frozen=True)
class Scored:
    """The figures of a benchmark: `metrics` for `metrics.json`, `lines` for `scores.jsonl`."""

    metrics: dict[str, Any]
    lines: list[dict[str, Any]]


def score_benchmark(
    benchmark: Benchmark, joined: Joined, *, split: str, tools: ScoreTools | None = None, strict: bool = False
) -> Scored:
    """Score answers.

    The metrics hold every figure with its count and 95 % interval, the rate of answers that can't be read,
    what of the ids doesn't add up, breakdowns of the main figure, and the prompt. With `strict`, ids that
    don't add up are a RecordError.
    """
    tools = tools or ScoreTools()
    if strict and joined.faults():
        raise RecordError(f"{benchmark.name}: {joined.faults()}. Every question needs exactly one answer.")
    if not joined.answers:
        raise RecordError(f"{benchmark.name}, split {split}: there are no questions.")
    score = benchmark.score(joined.answers, tools)
    predictions = [answer.prediction for answer in joined.answers]
    failed = measure([float(flag) for flag in score.failed], predictions, seed=tools.seed)
    main = next(iter(score.figures))
    metrics = {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "split": split,
        "main": main,
        "questions": len(joined.answers),
        "pictures": len({item.picture for item in predictions}),
        "prompt": joined.answers[0].item.question,
        "figures": {name: dict(figure) for name, figure in score.figures.items()},
        "parse_failures": sum(score.failed),
        "parse_failure_rate": failed,
        "ids": {
            "missing": len(joined.missing),
            "duplicates": len(joined.duplicates),
            "conflicting_duplicates": len(joined.conflicting),
            "unknown": len(joined.unknown),
            "examples": {
                "missing": list(joined.missing[:_LISTED]),
                "duplicates": list(joined.duplicates[:_LISTED]),
                "unknown": list(joined.unknown[:_LISTED]),
            },
        },
        "groups": _groups(joined.answers, score, main, seed=tools.seed),
        "confidence": CONFIDENCE,
        "iou_convention": IOU_CONVENTION,
        "notes": list(score.notes),
        "details": dict(score.details),
    }
    return Scored(metrics, _lines(joined.answers, score, main))


def _groups(answers: Sequence[Answer], score: Score, main: str, *, seed: int) -> dict[str, dict[str, Any]]:
    """Return the main figure by box size, class ...; nothing where it is no mean over questions."""
    if score.figures[main].get("unit") == "points":
        return {}
    scored = [place for place, row in enumerate(score.questions) if main in row]
    groups: dict[str, dict[str, Any]] = {}
    for title in dict.fromkeys(name for answer in answers for name in groups_of(answer)):
        places = [place for place in scored if title in groups_of(answers[place])]
        names = [groups_of(answers[place])[title] for place in places]
        if len(set(names)) <= MAX_GROUPS:
            groups[title] = measure_groups(
                [score.questions[place][main] for place in places],
                [answers[place].prediction for place in places],
                groups=names,
                seed=seed,
            )
    return groups


def groups_of(answer: Answer) -> dict[str, str]:
    """Return the breakdowns an answer belongs to: its item's, its box's size, its region's kind."""
    item = answer.item
    found = dict(item.groups)
    bounds = item.boxes[0] if len(item.boxes) == 1 else None
    if item.regions:
        found["region kind"] = type(item.regions[0]).__name__.lower()
        if isinstance(item.regions[0], Box):
            bounds = item.regions[0].bounds_xyxy()
    if bounds is not None and "box size" not in found:
        found["box size"] = coco_size(float(box_area([bounds])[0]))
    return found


def _lines(answers: Sequence[Answer], score: Score, main: str) -> list[dict[str, Any]]:
    return [
        {
            "id": answer.item.id,
            "picture": answer.item.picture,
            "main": main if main in row else next(iter(row), ""),
            "scores": dict(row),
            "groups": groups_of(answer),
            "failed": bool(failed),
            "missing": answer.missing,
        }
        for answer, row, failed in zip(answers, score.questions, score.failed, strict=True)
    ]


def write_scores(folder: Path, scored: Scored) -> None:
    """Write `metrics.json` and `scores.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "metrics.json": json.dumps(scored.metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        SCORES: "".join(json.dumps(line, allow_nan=False) + "\n" for line in scored.lines),
    }
    for name, text in contents.items():
        partial = folder / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
