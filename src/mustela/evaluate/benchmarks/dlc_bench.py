"""DLC-Bench: detailed descriptions of what a mask covers, checked by a judge's questions.

Lian et al. 2025, Describe Anything. A judge that sees only the description answers multiple-choice questions
about it. A first question says whether the description is of the right kind of thing; if not, no other
question of the object scores more than 0. Positive questions reward details that are there, negative ones
punish details that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.benchmarks.coco_file import object_mask
from mustela.evaluate.benchmarks.figures import measure_range
from mustela.evaluate.benchmarks.folder import Pictures, find_file, read_json
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    Judge,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.measure import measure
from mustela.regions import Mask

_SOURCE = "https://huggingface.co/datasets/nvidia/DLC-Bench"
_LETTERS = "ABCDEFGHIJ"
_INSTRUCTION = """\
Answer the multiple-choice question from the description of an object in a picture. Rules:
1. Give exactly one of the choices and nothing else: no reasons, no correction, no repeated question.
2. It need not match exactly: take the choice that is nearest to the description.

The description is:
{description}

From the description above, answer this question with one of the choices:
{question}
"""


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    folder = find_file(root, "**/qa.json").parent
    questions, names = read_json(folder / "qa.json"), read_json(folder / "class_names.json")
    data = read_json(folder / "annotations.json")
    images = {image["id"]: image for image in data["images"]}
    annotations = {str(entry["id"]): entry for entry in data["annotations"]}
    pictures = Pictures(root)
    items = []
    for key, asked in questions.items():
        if key not in annotations or key not in names:
            raise RecordError(f"{folder}: object {key} of qa.json has no annotation or no class name.")
        image = images[annotations[key]["image_id"]]
        size = (int(image["width"]), int(image["height"]))
        mask = object_mask(annotations[key]["segmentation"], size, where=f"{folder}: object {key}")
        items.append(
            Item(
                id=str(key),
                kind="referring",
                picture=pictures.path(str(image["file_name"])),
                image_wh=size,
                question=options.prompt,
                regions=(Mask.from_array(mask),),
                reference=str(names[key]),
                truth={"questions": [_recognition(str(names[key])), *asked]},
                groups={"class": str(names[key])},
            )
        )
    return items


def _recognition(name: str) -> dict[str, Any]:
    text = (
        f"The object in the image is {name}. Based on the image, is it likely that the object in the "
        f"description is given class: {name} or object of a similar type?"
    )
    return {"question": text, "choices": [["Yes", 1], ["No", 0]], "type": "recognition"}


def read_choice(text: str, choices: Sequence[str]) -> int | None:
    """Return the choice that a judge's answer names, None for none.

    The choice's words or its letter alone; else the choice that is named last, the longer of two that end
    there; else the letter in front; else the longest choice that contains the answer.
    """
    said = text.strip().lower()
    plain = [choice.strip().lower() for choice in choices]
    if not said:
        return None
    for place, choice in enumerate(plain):
        letter = _LETTERS[place].lower()
        if said in (choice, letter, f"{letter}.", f"{letter}. {choice}"):
            return place
    inside = [
        (said.rindex(choice), len(choice), place) for place, choice in enumerate(plain) if choice in said
    ]
    letter = said[0].upper()
    lettered = said[1:2] in (".", ")", ":", "\n") and letter in _LETTERS[: len(choices)]
    if len(inside) == 1:
        return inside[0][2]
    if lettered:
        return _LETTERS.index(letter)
    if inside:
        return max(inside)[2]
    around = [(len(choice), -place) for place, choice in enumerate(plain) if said in choice]
    return -max(around)[1] if around else None


def _ask(
    judge: Judge, question: dict[str, Any], description: str, *, turned: bool
) -> tuple[int | None, bool]:
    """Return the choice (by its place in the file), and whether the judge answered at all."""
    order = list(range(len(question["choices"])))
    if turned:
        order.reverse()
    texts = [str(question["choices"][place][0]) for place in order]
    shown = "\n".join([question["question"], *(f"{_LETTERS[n]}. {text}" for n, text in enumerate(texts))])
    said = judge.ask(_INSTRUCTION.format(description=description, question=shown))
    if said is None:
        return None, False
    chosen = read_choice(said, texts)
    return (None if chosen is None else order[chosen]), True


def score_object(questions: Sequence[dict[str, Any]], choices: Sequence[int | None]) -> dict[str, float]:
    """Return `positive`, `negative` (where there are such questions) and `recognised` of one object.

    `choices` are the judge's, in the order of the questions; None (unreadable) scores 0.
    """
    points = [
        float(question["choices"][choice][1]) if choice is not None else 0.0
        for question, choice in zip(questions, choices, strict=True)
    ]
    recognised = all(
        point > 0
        for question, point in zip(questions, points, strict=True)
        if question["type"] == "recognition"
    )
    found = {"recognised": float(recognised)}
    for kind in ("positive", "negative"):
        of_kind = [
            point if recognised else min(0.0, point)
            for question, point in zip(questions, points, strict=True)
            if question["type"] == kind
        ]
        if of_kind:
            found[kind] = sum(of_kind) / len(of_kind)
    return found


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    if tools.judge is None:
        raise ConfigError("DLC-Bench needs a judge: --judge ADDRESS --judge_model NAME.")
    rows: list[dict[str, float]] = []
    same, asked, unread = 0, 0, 0
    for answer in answers:
        questions = answer.item.truth["questions"]
        text = answer.prediction.text.strip()
        if not text:
            # Nothing was described: no judge is needed to say that it is not recognised.
            rows.append(score_object(questions, [1, *([None] * (len(questions) - 1))]))
            continue
        replies = [_ask(tools.judge, question, text, turned=False) for question in questions]
        if not all(answered for _, answered in replies):
            rows.append({})
            continue
        choices = [choice for choice, _ in replies]
        unread += choices.count(None)
        rows.append(score_object(questions, choices))
        if tools.swap:
            for question, choice in zip(questions, choices, strict=True):
                again, answered = _ask(tools.judge, question, text, turned=True)
                asked += answered
                same += answered and again == choice
    for row in rows:
        parts = [row[name] for name in ("positive", "negative") if name in row]
        if parts:
            row["average"] = sum(parts) / len(parts)
    figures = {}
    for name in ("average", "positive", "negative"):
        kept = [
            (row[name], answer.prediction) for row, answer in zip(rows, answers, strict=True) if name in row
        ]
        values, predictions = [value for value, _ in kept], [item for _, item in kept]
        figures[name] = measure_range(values, predictions, least=-1.0, most=1.0, seed=tools.seed)
    kept_rows = [(row["recognised"], a.prediction) for row, a in zip(rows, answers, strict=True) if row]
    figures["recognised"] = measure(
        [value for value, _ in kept_rows], [a for _, a in kept_rows], seed=tools.seed
    )
    details = {
        "judge": tools.judge.usage(),
        "objects_without_a_judgement": sum(not row for row in rows),
        "judgements_without_a_choice": unread,
        "same_choice_in_turned_order": same / asked if asked else None,
        "asked_in_turned_order": asked,
    }
    notes = (
        "positive and negative are means over objects, average is the mean of an object's two, from -1 to 1.",
        "Figures are of the published order of choices; the turned order only shows how steady the judge is.",
    )
    return Score(figures, rows, [not answer.prediction.text.strip() for answer in answers], details, notes)


DLC_BENCH = Benchmark(
    name="dlc_bench",
    title="DLC-Bench",
    measures="detailed descriptions of a masked object, by a judge's questions",
    paper="Lian et al. 2025, Describe Anything, arXiv:2504.16072",
    licence="CC BY-NC-SA 4.0",
    size="one small download; see the source",
    splits=("test",),
    files=(
        Needed("**/qa.json", _SOURCE),
        Needed("**/class_names.json", _SOURCE),
        Needed("**/annotations.json", _SOURCE),
        Needed("**/*.jpg | **/*.png", _SOURCE, pictures=True),
    ),
    prompt="Describe <region> in detail.",
    load=_load,
    score=_score,
    max_new_tokens=512,
    needs_judge=True,
)
