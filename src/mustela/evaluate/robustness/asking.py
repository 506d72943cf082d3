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
from mustela.evaluate.evaluation_folder import VARIANTS, claim, drop_torn_line, write_json
from mustela.evaluate.fingerprint import questions_fingerprint
from mustela.evaluate.questions import Question, questions_from, used_regions
from mustela.evaluate.robustness.figures import VariantAnswer, score_robustness
from mustela.evaluate.robustness.variants import PARAPHRASES, Variant, taken_boxes, variants_of
from mustela.evaluate.runner import Progress
from mustela.infer import Query
from mustela.regions import load_image

ROBUSTNESS = "robustness.json"
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
    asked: str = "",
    overwrite: bool = False,
    about: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every referring question about one region in other ways, and return the figures.

    Leaves `variants.jsonl` (every variant's answer, flushed after each question) and `robustness.json` in
    `out_dir`. One that was interrupted goes on at the first question that isn't complete.

    Args:
        ask: the model.
        records: of questions and answers; masks make more variants possible.
        out_dir: made when missing.
        image_folder: where the records' image paths begin.
        limit: only so many questions, evenly spread.
        paraphrases: other words for the question, with one `<region>` each.
        seed: of all that is drawn, and of the intervals.
        asked: a name of exactly what is asked, such as the fingerprint of a model's weights.
        overwrite: start again where `out_dir` holds answers of another model or to other questions.
        about: what to note beside the figures.
        progress: called with (questions done, questions).

    Raises:
        ConfigError: `out_dir` holds answers of another model or to other questions.
        RecordError: no question shows one region and is answered with words.
    """
    questions = questions_from(records)
    taken = taken_boxes(questions)
    chosen = _spread([item for item in questions if _is_simple(item)], limit)
    if not chosen:
        raise RecordError("there is no question about exactly one region with words as answer in the data.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "asked": asked,
        "questions_fingerprint": questions_fingerprint(chosen),
        "paraphrases": " | ".join(paraphrases),
        "seed": seed,
    }
    claim(folder, settings, about=about or {}, overwrite=overwrite)
    answers: list[VariantAnswer] = []
    with (folder / VARIANTS).open("ab") as file:
        known = _kept(folder / VARIANTS)
        for number, question in enumerate(chosen, start=1):
            image = load_image(locate_image(question.record.images[0].path, image_folder))
            variants = list(
                variants_of(
                    question, image, taken=taken[question.picture], paraphrases=paraphrases, seed=seed
                )
            )
            found = known.get(question.id, [])
            if [(each.family, each.name) for each in found] != [
                (each.family, each.name) for each in variants
            ]:
                texts = ask([variant.query for variant in variants])
                found = [_answer(question, *each) for each in zip(variants, texts, strict=True)]
                file.write("".join(json.dumps(asdict(each)) + "\n" for each in found).encode())
                file.flush()
            answers += found
            if progress is not None:
                progress(number, len(chosen))
    figures = {**score_robustness(answers, seed=seed), "about": about or {}}
    write_json(folder / ROBUSTNESS, figures)
    return figures


def _kept(path: Path) -> dict[str, list[VariantAnswer]]:
    """Return what an earlier run answered, by question."""
    drop_torn_line(path)
    found: dict[str, dict[tuple[str, str], VariantAnswer]] = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            answer = VariantAnswer(**json.loads(line))
            found.setdefault(answer.question_id, {})[answer.family, answer.name] = answer
    return {name: list(answers.values()) for name, answers in found.items()}


def _names(variants: Sequence[Variant] | Sequence[VariantAnswer]) -> list[tuple[str, str]]:
    return [(each.family, each.name) for each in variants]


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
