"""Ferret-Bench: referring description, referring reasoning and grounded conversation, rated by a judge.

You et al. 2024, Ferret, section 5.4. A judge sees the picture's context as text, the question, and two
answers: the reference's and the model's. It rates both from 1 to 10; the score is the model's ratings in per
cent of the reference's. Judges prefer a place, so each pair is shown in both orders and the ratings are
averaged.

A folder has one folder for each of the three parts, with files of JSON lines:

    question.jsonl  {"question_id": 1, "image": "a.jpg", "text": "What is <bbox_location0> for?",
                     "box_x1y1x2y2": [[x1, y1, x2, y2]], "image_w": 640, "image_h": 480}
    answer.jsonl    {"question_id": 1, "text": "the reference"}
    context.jsonl   {"question_id": 1 (or "image": "a.jpg"), "text": "what is known of the picture"}

and may have a `rule.json` with the judge's instruction, {"refer_desc": {"prompt": ...}}.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mustela.constants import LOCATION_PATTERN
from mustela.errors import ConfigError, RecordError, RegionError
from mustela.evaluate.benchmarks.figures import measure_statistic, ratio
from mustela.evaluate.benchmarks.folder import Pictures, find_file, need, read_json, read_json_lines
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.regions import Box

_SOURCE = "https://github.com/apple/ml-ferret (Ferret-Bench's data)"
_PARTS = ("refer_desc", "refer_reason", "ground_conv")
_LOCATION = re.compile(LOCATION_PATTERN)
_RATINGS = re.compile(r"\d+(?:\.\d+)?")
_MOST = 10.0
_RULE = (
    "Rate the two answers to the question about the picture described above. Consider how relevant, accurate "
    "and detailed they are, and whether their coordinates are right. Give each a score from 1 to 10, higher "
    "is better. First write one line with two numbers only, the scores of Assistant 1 and Assistant 2, "
    "parted by a blank. Then explain, without letting the order of the answers affect you."
)


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    items = []
    for part in _PARTS if split == "all" else (split,):
        folder = find_file(root, f"**/{part}/question.jsonl").parent
        answers = {
            entry["question_id"]: str(entry["text"]) for entry in read_json_lines(folder / "answer.jsonl")
        }
        context = {
            str(entry.get("question_id", entry.get("image"))): str(entry["text"])
            for entry in read_json_lines(folder / "context.jsonl")
        }
        rules = next(iter(sorted(root.glob("**/rule.json"))), None)
        rule = str(read_json(rules).get(part, {}).get("prompt", _RULE)) if rules is not None else _RULE
        file = folder / "question.jsonl"
        for number, entry in enumerate(read_json_lines(file)):
            need(entry, ("question_id", "image", "text"), path=file, number=number)
            key = entry["question_id"]
            if key not in answers:
                raise RecordError(f"{folder}/answer.jsonl: question {key!r} has no reference answer.")
            known = context.get(str(key), context.get(str(entry["image"])))
            if known is None:
                raise RecordError(f"{folder}/context.jsonl: question {key!r} has no context.")
            size = (int(entry["image_w"]), int(entry["image_h"])) if "image_w" in entry else None
            question, regions = _question(entry, where=f"{file}: entry {number}")
            items.append(
                Item(
                    id=f"{part}-{key}",
                    kind="referring" if regions else "text",
                    picture=pictures.path(str(entry["image"])),
                    image_wh=size,
                    question=options.prompt.replace("{question}", question),
                    regions=regions,
                    reference=answers[key],
                    truth={"context": known, "rule": rule},
                    groups={"part": part},
                )
            )
    return items


def _question(entry: dict[str, Any], *, where: str) -> tuple[str, tuple[Box, ...]]:
    """Return the question with `<regionN>` for its boxes, and the boxes in the order of their numbers."""
    numbers = list(dict.fromkeys(int(match[1]) for match in _LOCATION.finditer(entry["text"])))
    try:
        boxes = tuple(Box(*entry["box_x1y1x2y2"][number]) for number in numbers)
    except (KeyError, IndexError, TypeError, RegionError) as error:
        raise RecordError(f"{where}: its boxes don't fit its text: {error}") from error
    text = _LOCATION.sub(lambda match: f"<region{numbers.index(int(match[1])) + 1}>", entry["text"])
    return text.replace("<image>", "").strip(), boxes


def read_ratings(text: str) -> tuple[float, float] | None:
    """Return the two ratings of a judge's first line that has exactly two numbers in 1 to 10; else None."""
    for line in text.strip().splitlines():
        numbers = [float(number) for number in _RATINGS.findall(line)]
        if len(numbers) == 2 and all(1 <= number <= _MOST for number in numbers):
            return numbers[0], numbers[1]
        if numbers:
            return None
    return None


def judge_prompt(item: Item, *, first: str, second: str) -> str:
    """Return what the judge reads for two answers in an order."""
    question = item.question
    for number, region in enumerate(item.regions, start=1):
        box = ", ".join(f"{value:g}" for value in region.bounds_xyxy())
        question = question.replace(f"<region{number}>", f"the region [{box}]")
    return (
        f"[Context]\n{item.truth['context']}\n\n[Question]\n{question}\n\n"
        f"[Assistant 1]\n{first}\n\n[End of Assistant 1]\n\n"
        f"[Assistant 2]\n{second}\n\n[End of Assistant 2]\n\n[System]\n{item.truth['rule']}\n"
    )


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    if tools.judge is None:
        raise ConfigError("Ferret-Bench needs a judge: --judge ADDRESS --judge_model NAME.")
    rows: list[dict[str, float]] = []
    unread = 0
    for answer in answers:
        texts = (answer.item.reference, answer.prediction.text)
        found: list[tuple[float, float]] = []
        for turned in (False, True) if tools.swap else (False,):
            first, second = texts[::-1] if turned else texts
            said = tools.judge.ask(judge_prompt(answer.item, first=first, second=second))
            ratings = None if said is None else read_ratings(said)
            unread += said is not None and ratings is None
            if ratings is not None:
                found.append(ratings[::-1] if turned else ratings)
        if len(found) < (2 if tools.swap else 1):
            rows.append({})
            continue
        reference, own = np.mean(found, axis=0)
        rows.append(
            {
                "score": float(own / reference),
                "rating": float(own),
                "rating_of_reference": float(reference),
                "first_order_rating": found[0][1],
                "first_order_reference": found[0][0],
                "shift_by_order": abs((found[0][1] - found[0][0]) - (found[-1][1] - found[-1][0])),
            }
        )
    details = {
        "judge": tools.judge.usage(),
        "answers_without_a_judgement": sum(not row for row in rows),
        "judgements_without_two_ratings": unread,
        "mean_shift_by_order": _mean([row["shift_by_order"] for row in rows if row]),
    }
    notes = (
        "score: the model's ratings summed over the reference's, in both orders of the two answers;"
        " score_published_order: the reference first only. It may exceed 100 %.",
    )
    figures = _figures(answers, rows, tools)
    failed = [not answer.prediction.text.strip() for answer in answers]
    return Score(figures, rows, failed, details, notes)


def _figures(
    answers: Sequence[Answer], rows: Sequence[dict[str, float]], tools: ScoreTools
) -> dict[str, Any]:
    figures = {}
    wanted = {"score": None, "score_published_order": None, **{f"score_{part}": part for part in _PARTS}}
    for name, part in wanted.items():
        kept = [
            place
            for place, row in enumerate(rows)
            if row and part in (None, answers[place].item.groups["part"])
        ]
        if not kept and part is not None:
            continue
        keys = ("rating", "rating_of_reference")
        if name == "score_published_order":
            keys = ("first_order_rating", "first_order_reference")
        table = np.asarray([[rows[place][key] for key in keys] for place in kept]).reshape(-1, 2)
        measured = measure_statistic(
            table,
            [answers[place].prediction for place in kept],
            lambda total: ratio(total[0], total[1]),
            seed=tools.seed,
        )
        figures[name] = {**measured, "high": _MOST} if measured["interval"] == "none" else measured
    return figures


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


FERRET_BENCH = Benchmark(
    name="ferret_bench",
    title="Ferret-Bench",
    measures="descriptions, reasoning and conversation about regions, rated by a judge",
    paper="You et al. 2024, Ferret, arXiv:2310.07704",
    licence="CC BY-NC 4.0; pictures: COCO's terms",
    size="120 questions, pictures of COCO val2014 (6 GB)",
    splits=("all", *_PARTS),
    files=(
        Needed("**/question.jsonl", _SOURCE),
        Needed("**/answer.jsonl", _SOURCE),
        Needed("**/context.jsonl", _SOURCE),
        Needed("**/*.jpg", "http://images.cocodataset.org/zips/val2014.zip", pictures=True),
    ),
    prompt="{question}",
    load=_load,
    score=_score,
    max_new_tokens=512,
    needs_judge=True,
)
