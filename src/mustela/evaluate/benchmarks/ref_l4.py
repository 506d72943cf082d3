"""Ref-L4: long, corrected referring expressions over 365 classes.

Chen et al. 2024, Revisiting Referring Expression Comprehension Evaluation in the Era of Large Multimodal
Models. As in its own scorer an IoU of exactly the threshold is no hit; elsewhere here it is one.

Classes of RefCOCO and Objects365 that mean the same are one class for the authors. Which those are is a table
in their repository, which is read from there where a copy of it lies in the folder.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
_THRESHOLDS = (0.5, 0.75, 0.9)
_AVERAGED = tuple(percent / 100 for percent in range(50, 100, 5))
_SCORER = "ref_l4/evaluation.py"
_TABLE = "mapping_dict"


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    names = ("val", "test") if split == "all" else (split,)
    merged = _merged_classes(root)
    items = []
    for name in names:
        for file in sorted(root.glob(f"**/ref-l4-{name}*.parquet")):
            for number, row in enumerate(_rows(file)):
                need(row, _KEYS, path=file, number=number)
                x, y, width, height = (float(value) for value in row["bbox"])
                kind = str(row["ori_category_id"])
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
                        truth={"merged_class": merged.get(kind, kind) if merged else None},
                        groups={"class": kind, "box size": _size(width * height)},
                    )
                )
    return items


def _merged_classes(root: Path) -> dict[str, str]:
    """Return the authors' names of classes that have another one, {} without a copy of their repository.

    Their file is read as text and never run.
    """
    file = min(root.glob(f"**/{_SCORER}"), default=None)
    if file is None:
        return {}
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == _TABLE for target in node.targets
            ):
                return {str(name): str(other) for name, other in dict(ast.literal_eval(node.value)).items()}
    except (OSError, ValueError, SyntaxError) as error:
        raise RecordError(f"{file}: the table of classes can't be read: {error}.") from error
    raise RecordError(f"{file}: there is no {_TABLE}, the table of classes that mean the same.")


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
            **{f"acc_{round(100 * limit)}": float(iou > limit) for limit in _THRESHOLDS},
            "macc": sum(iou > limit for limit in _AVERAGED) / len(_AVERAGED),
            "mean_iou": iou,
        }
        for iou in ious
    ]
    predictions = [answer.prediction for answer in answers]
    figures = {name: measure([row[name] for row in rows], predictions, seed=tools.seed) for name in rows[0]}
    merged = [answer.item.truth.get("merged_class") for answer in answers]
    is_merged = None not in merged
    classes = [str(name) for name in merged if name is not None]
    if not is_merged:
        classes = [answer.item.groups["class"] for answer in answers]
    for name in ("acc_50", "macc"):
        figures[f"class_average_{name}"] = measure(
            [row[name] for row in rows], predictions, classes=classes, seed=tools.seed
        )
    notes = (
        "macc is the mean accuracy over the thresholds 0.50, 0.55 ... 0.95.",
        "An IoU of exactly a threshold is no hit here, as in the authors' scorer.",
        "class_average figures: "
        + (
            "classes that mean the same are one, by the authors' table."
            if is_merged
            else "not as published: classes of RefCOCO and Objects365 that mean the same count as two. Put a "
            f"copy of the authors' repository, with {_SCORER}, into the folder."
        ),
    )
    return Score(figures, rows, failed, {"parse_failure_reasons": failure_reasons(answers)}, notes)


REF_L4 = Benchmark(
    name="ref_l4",
    title="Ref-L4",
    measures="the box of the object that a long description means: accuracy, and its mean over thresholds",
    paper="Chen et al. 2024, arXiv:2406.16866",
    licence="CC BY-NC 4.0; pictures: COCO's and Objects365's terms",
    size="45,341 questions; of the pictures: see the source",
    splits=("test", "val", "all"),
    files=(
        Needed("**/ref-l4-*.parquet", _SOURCE),
        Needed("**/*.jpg", f"{_SOURCE} (unpack images.tar.gz)", pictures=True),
        Needed(
            f"**/{_SCORER}",
            "https://github.com/JierunChen/Ref-L4, for class_average figures as published",
            optional=True,
        ),
    ),
    prompt="Where is {expression}?",
    load=_load,
    score=_score,
    max_new_tokens=64,
)
