"""Asking a model the variants of a file's referring questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mustela.data.image_folder import locate_image
from mustela.data.record import Record
from mustela.errors import RecordError
from mustela.evaluate.questions import Question, questions_from, used_regions
from mustela.evaluate.robustness.figures import VariantAnswer, score_robustness
from mustela.evaluate.robustness.variants import PARAPHRASES, Variant, taken_boxes, variants_of
from mustela.evaluate.runner import Progress, write_json
from mustela.infer import Query
from mustela.regions import load_image

Ask = Callable[[Sequence[Query]], Sequence[str]]
"""Answers questions, in their order."""


def evaluate_robustness(
    ask: Ask,
    records: Iterable[Record],
    *,
    out_dir: str | Path,
    image_folder: str | Path,
    limit: int | None = None,
    paraphrases: Sequence[str] = PARAPHRASES,
    seed: int = 0,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every referring question about one region in other ways, and return the figures.

    Leaves `variants.jsonl` (every variant's answer) and `robustness.json` in `out_dir`.

    Args:
        ask: the model.
        records: of questions and answers; masks make more variants possible.
        out_dir: made when missing.
        image_folder: where the records' image paths begin.
        limit: only so many questions, evenly spread.
        paraphrases: other words for the question, with one `<region>` each.
        seed: of all that is drawn, and of the intervals.
        about: what to note beside the figures.
        progress: called with (questions done, questions).

    Raises:
        RecordError: no question shows one region and is answered with words.
    """
    questions = questions_from(records)
    taken = taken_boxes(questions)
    asked = _spread([item for item in questions if _is_simple(item)], limit)
    if not asked:
        raise RecordError("there is no question about exactly one region with words as answer in the data.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    answers: list[VariantAnswer] = []
    with (folder / "variants.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, question in enumerate(asked, start=1):
            image = load_image(locate_image(question.record.images[0].path, image_folder))
            variants = list(
                variants_of(
                    question, image, taken=taken[question.picture], paraphrases=paraphrases, seed=seed
                )
            )
            texts = ask([variant.query for variant in variants])
            for variant, text in zip(variants, texts, strict=True):
                answers.append(_answer(question, variant, text))
                file.write(json.dumps(asdict(answers[-1])) + "\n")
            if progress is not None:
                progress(number, len(asked))
    found = {**score_robustness(answers, seed=seed), "about": about or {}}
    write_json(folder / "robustness.json", found)
    return found


def _is_simple(question: Question) -> bool:
    return (
        question.kind == "referring"
        and len(question.record.images) == 1
        and len(used_regions(question.question)) == 1
    )


def _spread(questions: Sequence[Question], limit: int | None) -> list[Question]:
    count = min(limit or len(questions), len(questions))
    return [questions[number * len(questions) // count] for number in range(count)]


def _answer(question: Question, variant: Variant, text: str) -> VariantAnswer:
    return VariantAnswer(
        question_id=question.id,
        picture=question.picture,
        family=variant.family,
        name=variant.name,
        question=variant.query.text,
        reference=question.reference.text,
        text=text,
    )
