"""Ref-L4: long, corrected referring expressions over 365 classes.

Chen et al. 2024, Revisiting Referring Expression Comprehension Evaluation in the Era of Large Multimodal
Models. Its own scorer counts IoU > threshold; at exactly the threshold ours is a hit (>=), as elsewhere here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.first_box import failure_reasons, first_ious
from mustela.evaluate.benchmarks.folder import Pictures, fill, need
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.measure import measure

_SOURCE = "https://huggingface.co/datasets/JierunChen/Ref-L4"
_KEYS = ("id", "caption", "bbox", "ori_category_id", "height", "width", "file_name")
_AVERAGED = np.arange(0.5, 1.0, 0.05)


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    names = ("val", "test") if split == "all" else (split,)
    items = []
    for name in names:
        for file in sorted(root.glob(f"**/ref-l4-{name}*.parquet")):
            for number, row in enumerate(_rows(file)):
                need(row, _KEYS, path=file, number=number)
                x, y, width, height = (float(value) for value in row["bbox"])
                items.append(
                    Item(
                        id=str(row["id"]),
                        kind="grounding",
                        picture=pictures.path(str(row["file_name"])),
                        image_wh=(int(row["width"]), int(row["height"])),
                        question=fill(options.prompt, expression=str(row["caption"])),
                        reference=str(row["caption"]),
                        boxes=((x, y, x + width, y + height),),
                        phrases=(str(row["caption"]),),
                        groups={"class": str(row["ori_category_id"]), "box size": _size(width * height)},
                    )
                )
    return items


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise RecordError(f"{file}: not a Parquet file that can be read: {error}.") from error
    return rows


def _size(area: float) -> str:
    """Return Ref-L4's own size class: by the square root of the area, 128 and 256 pixels."""
    side = math.sqrt(area)
    return "small (< 128²)" if side < 128 else "medium" if side <= 256 else "large (> 256²)"


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    ious, failed = first_ious(answers)
    rows = [
        {
            **{f"acc_{round(100 * limit)}": float(iou >= limit) for limit in (0.5, 0.75, 0.9)},
            "macc": float(np.mean(iou >= _AVERAGED - 1e-9)),
            "mean_iou": iou,
        }
        for iou in ious
    ]
    predictions = [answer.prediction for answer in answers]
    figures = {name: measure([row[name] for row in rows], predictions, seed=tools.seed) for name in rows[0]}
    classes = [answer.item.groups["class"] for answer in answers]
    for name in ("acc_50", "macc"):
        figures[f"class_average_{name}"] = measure(
            [row[name] for row in rows], predictions, classes=classes, seed=tools.seed
        )
    notes = (
        "macc is the mean accuracy over the thresholds 0.50, 0.55 ... 0.95.",
        "class_average figures take RefCOCO's and Objects365's classes as they are named in the files; the"
        " authors' scorer merges those that mean the same.",
    )
    return Score(figures, rows, failed, {"parse_failure_reasons": failure_reasons(answers)}, notes)


REF_L4 = Benchmark(
    name="ref_l4",
    title="Ref-L4",
    measures="the box of the object that a long description means: accuracy, and its mean over thresholds",
    paper="Chen et al. 2024, arXiv:2406.16866",
    licence="CC BY-NC 4.0",
    size="6 GB, 45,341 questions",
    splits=("test", "val", "all"),
    files=(
        Needed("**/ref-l4-*.parquet", _SOURCE),
        Needed("**/*.jpg", f"{_SOURCE} (unpack images.tar.gz)", pictures=True),
    ),
    prompt="Where is {expression}?",
    load=_load,
    score=_score,
    max_new_tokens=64,
)
