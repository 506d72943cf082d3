"""POPE: is an object in the picture? Questions about random, popular and adversarial objects.

Li et al. 2023, Evaluating Object Hallucination in Large Vision-Language Models. Answers are read as its
scorer reads them: "No", "no" or "not" among the words before the first period is a no, everything else a yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mustela.errors import RecordError
from mustela.evaluate.answers import yes_or_no
from mustela.evaluate.benchmarks.figures import measure_statistic, ratio
from mustela.evaluate.benchmarks.folder import Pictures, fill, find_file, need, read_json_lines
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.intervals import Interval, wilson
from mustela.evaluate.measure import measure
from mustela.evaluate.original import says_yes

_SOURCE = "https://github.com/AoiDragon/POPE (output/coco/coco_pope_*.json)"
_SETS = ("random", "popular", "adversarial")


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    items = []
    for name in _SETS if split == "all" else (split,):
        file = find_file(root, f"**/coco_pope_{name}.json")
        for number, entry in enumerate(read_json_lines(file)):
            need(entry, ("question_id", "image", "text", "label"), path=file, number=number)
            label = str(entry["label"]).strip().lower()
            if label not in ("yes", "no"):
                raise RecordError(f"{file}: entry {number}: the label {label!r} is neither yes nor no.")
            items.append(
                Item(
                    id=f"{name}-{entry['question_id']}",
                    kind="presence",
                    picture=pictures.path(str(entry["image"])),
                    image_wh=None,
                    question=fill(options.prompt, question=str(entry["text"])),
                    reference=label.capitalize(),
                    truth={"label": label},
                    groups={"set": name, "truth": label},
                )
            )
    return items


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    predictions = [answer.prediction for answer in answers]
    truth = np.asarray([answer.item.truth["label"] == "yes" for answer in answers])
    present = np.asarray([not answer.missing for answer in answers])
    said = np.asarray([says_yes(answer.prediction.text) for answer in answers]) & present
    # An answer that is missing is wrong whatever the truth, and not said to be either.
    right = (said == truth) & present
    columns = np.stack([said & truth, said & ~truth, truth & ~said], axis=1).astype(np.float64)
    figures = {"accuracy": measure(right.astype(float).tolist(), predictions, seed=tools.seed)}

    def precision(total: np.ndarray) -> float:
        return ratio(total[0], total[0] + total[1])

    def recall(total: np.ndarray) -> float:
        return ratio(total[0], total[0] + total[2])

    def f1(total: np.ndarray) -> float:
        return ratio(2 * total[0], 2 * total[0] + total[1] + total[2])

    counts = {"precision": int(said.sum()), "recall": int(truth.sum()), "f1": len(answers)}
    for name, statistic in (("precision", precision), ("recall", recall), ("f1", f1)):
        figures[name] = measure_statistic(
            columns, predictions, statistic, count=counts[name], seed=tools.seed
        )
    _widen(figures, hits=int((said & truth).sum()), said=int(said.sum()), true=int(truth.sum()))
    figures["yes_share"] = measure(said.astype(float).tolist(), predictions, seed=tools.seed)
    rows = [{"accuracy": float(hit), "yes_share": float(yes)} for hit, yes in zip(right, said, strict=True)]
    failed = [answer.missing or yes_or_no(answer.prediction.text) is None for answer in answers]
    note = (
        "parse_failure_rate: answers that don't begin with yes or no; the protocol reads them all the same."
    )
    return Score(figures, rows, failed, notes=(note,))


def _widen(figures: dict[str, dict[str, Any]], *, hits: int, said: int, true: int) -> None:
    """Give figures that resampling knows no spread of, because all are right or all wrong, other bounds.

    Precision and recall get the Wilson interval, F1 what the bounds of both make.
    """
    precision, recall = wilson(hits, said), wilson(hits, true)
    low, high = (2 * ratio(p * r, p + r) for p, r in zip(_ends(precision), _ends(recall), strict=True))
    both = Interval(low, high, "Wilson, of precision and recall")
    for name, bounds in (("precision", precision), ("recall", recall), ("f1", both)):
        if figures[name]["low"] == figures[name]["high"]:
            figures[name] |= {"low": bounds.low, "high": bounds.high, "interval": bounds.method}


def _ends(bounds: Interval) -> tuple[float, float]:
    return bounds.low, bounds.high


POPE = Benchmark(
    name="pope",
    title="POPE",
    measures="hallucinated objects: accuracy, precision, recall, F1 and the share of yes",
    paper="Li et al. 2023, arXiv:2305.10355",
    licence="MIT (questions); pictures: COCO's terms",
    size="questions 1 MB, pictures (500 of COCO val2014, 6 GB)",
    splits=("all", *_SETS),
    files=(
        Needed("**/coco_pope_*.json", _SOURCE),
        Needed("**/COCO_val2014_*.jpg", "http://images.cocodataset.org/zips/val2014.zip", pictures=True),
    ),
    prompt="{question}",
    load=_load,
    score=_score,
    max_new_tokens=32,
)
