"""COCO detection: answers that name every object with its box, as AP and AR.

The answer's boxes belong to the category that the words before them say; boxes with other words are left out.
Language models give no confidences, so a box's rank is its place in the answer: the first has the score 1,
the n-th 1 / n. AP and AR are pycocotools's (Lin et al. 2014).
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mustela.evaluate.answers import normalise_answer
from mustela.evaluate.benchmarks.coco_file import corners, picture_name
from mustela.evaluate.benchmarks.folder import Pictures, find_file, read_json
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.intervals import CONFIDENCE, MIN_PICTURES
from mustela.regions import Box

_STATS: tuple[str, ...] = ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large")
_STATS += ("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")
_RESAMPLES = 100
_NONE = -1.0  # pycocotools's value where there is no object of a size


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    file = find_file(root, f"**/instances_{split}.json")
    data = read_json(file)
    pictures = Pictures(root)
    names = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
    categories = [{"id": number, "name": name} for number, name in names.items()]
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for entry in data["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    question = options.prompt.replace("{categories}", ", ".join(names.values()))
    items = []
    for image in data["images"]:
        objects = [
            {
                "box_xyxy": corners(entry["bbox"], where=f"{file}: object {entry.get('id')}"),
                "category_id": entry["category_id"],
                "area": float(entry.get("area", entry["bbox"][2] * entry["bbox"][3])),
                "iscrowd": int(entry.get("iscrowd", 0)),
            }
            for entry in by_image.get(image["id"], ())
        ]
        single = [entry for entry in objects if not entry["iscrowd"]]
        items.append(
            Item(
                id=str(image["id"]),
                kind="detection",
                picture=pictures.path(picture_name(image)),
                image_wh=(int(image["width"]), int(image["height"])),
                question=question,
                reference=", ".join(names[entry["category_id"]] for entry in single),
                boxes=tuple(entry["box_xyxy"] for entry in single),
                phrases=tuple(names[entry["category_id"]] for entry in single),
                truth={"objects": objects, "categories": categories},
            )
        )
    return items


def detections_of(answer: Answer, categories: dict[str, int]) -> tuple[list[dict[str, Any]], int]:
    """Return an answer's boxes as COCO results (without image_id), and how many have no category's name.

    `categories` has ids by normalised name. Boxes in a row belong to the words before the first.
    """
    found: list[dict[str, Any]] = []
    other = 0
    phrase = ""
    regions = [] if answer.missing else answer.prediction.found().regions
    for region in regions:
        phrase = region.phrase or phrase
        if not isinstance(region.region, Box):
            continue
        number = _category(phrase, categories)
        if number is None:
            other += 1
            continue
        x1, y1, x2, y2 = region.region.bounds_xyxy()
        score = 1 / (len(found) + 1)
        found.append({"category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    return found, other


def _category(phrase: str, categories: dict[str, int]) -> int | None:
    words = normalise_answer(phrase)
    return categories.get(words, categories.get(words.removesuffix("s")))


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    listed = answers[0].item.truth["categories"]
    categories = {normalise_answer(entry["name"]): entry["id"] for entry in listed}
    results: list[dict[str, Any]] = []
    failed, rows, other = [], [], 0
    for place, answer in enumerate(answers):
        found, without = detections_of(answer, categories)
        other += without
        failed.append(not found)
        rows.append({"boxes": float(len(found))})
        results += [{"image_id": place, **entry} for entry in found]
    evaluation = _evaluated(answers, listed, results)
    stats = _summary(evaluation)
    low, high, method = _intervals(evaluation, len(answers), seed=tools.seed)
    figures = {
        name: {
            "value": max(0.0, float(stats[place])),
            "n": len(answers),
            "low": low[place],
            "high": high[place],
            "interval": method,
            "levels": {},
        }
        for place, name in enumerate(_STATS)
        if stats[place] != _NONE
    }
    details = {
        "boxes": len(results),
        "boxes_without_a_category": other,
        "objects": sum(len(answer.item.boxes) for answer in answers),
        "not_measured": [name for place, name in enumerate(_STATS) if stats[place] == _NONE],
    }
    notes = (
        "Answers have no confidences: a box's score is 1 / its place in the answer, so AP here rewards models"
        " that name what they are sure of first, and isn't comparable with a detector's.",
        f"Intervals: pictures resampled {_RESAMPLES} times. n counts pictures.",
    )
    return Score(figures, rows, failed, details, notes)


def _evaluated(answers: Sequence[Answer], categories: Any, results: list[dict[str, Any]]) -> COCOeval:
    annotations: list[dict[str, Any]] = []
    for place, answer in enumerate(answers):
        for entry in answer.item.truth["objects"]:
            x1, y1, x2, y2 = entry["box_xyxy"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": place,
                    "category_id": entry["category_id"],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": entry["area"],
                    "iscrowd": entry["iscrowd"],
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = {
            "images": [{"id": place} for place in range(len(answers))],
            "categories": categories,
            "annotations": annotations,
        }
        truth.createIndex()
        said = truth.loadRes(results) if results else _nothing(truth)
        evaluation = COCOeval(truth, said, "bbox")
        evaluation.evaluate()
    return evaluation


def _nothing(truth: COCO) -> COCO:
    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _summary(evaluation: COCOeval) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def _intervals(evaluation: COCOeval, pictures: int, *, seed: int) -> tuple[list[float], list[float], str]:
    """Return the 95 % bounds of every figure from resampled pictures; [0, 1] with fewer than 10."""
    if pictures < MIN_PICTURES:
        return [0.0] * len(_STATS), [1.0] * len(_STATS), "none"
    rng = np.random.default_rng(seed)
    # pycocotools keeps one entry a (category, area, picture), pictures innermost.
    kept = np.empty(len(evaluation.evalImgs), dtype=object)
    kept[:] = evaluation.evalImgs
    table = kept.reshape(-1, pictures)
    drawn = []
    for _ in range(_RESAMPLES):
        again = copy.copy(evaluation)
        again.evalImgs = table[:, rng.integers(pictures, size=pictures)].ravel().tolist()
        drawn.append(np.maximum(_summary(again), 0.0))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low.tolist(), high.tolist(), "bootstrap over pictures"


COCO_DETECTION = Benchmark(
    name="coco_detection",
    title="COCO detection",
    measures="every object of 80 categories with its box: AP and AR",
    paper="Lin et al. 2014, arXiv:1405.0312",
    licence="CC BY 4.0 (annotations); pictures: COCO's terms",
    size="annotations 0.2 GB, pictures (val2017) 1 GB",
    splits=("val2017", "train2017"),
    files=(
        Needed("**/instances_{split}.json", "https://cocodataset.org/#download (annotations_trainval2017)"),
        Needed("**/*.jpg", "https://cocodataset.org/#download (val2017)", pictures=True),
    ),
    prompt="Name every object in the picture with its box.",
    load=_load,
    score=_score,
    max_new_tokens=1024,
)
