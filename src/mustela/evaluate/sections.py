"""The report's numbers: metrics as rows and sections, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_CONFUSION = 60


@dataclass(frozen=True)
class Row:
    """A measure with its name and explanation. `level` is the strongest blind level, the tick on its bar."""

    name: str
    note: str
    value: float
    low: float
    high: float
    n: int
    level: float | None
    levels_text: str


@dataclass(frozen=True)
class Section:
    """The numbers of one kind of question."""

    kind: str
    title: str
    lead: str
    measures: list[Row]
    facts: str = ""
    classes: list[Row] = field(default_factory=list)
    classes_title: str = ""
    confusion: dict[str, Any] | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)


TITLES = {
    "referring": ("Referring", "The question points at a region, the answer says what it is."),
    "grounding": ("Grounding", "The question names something, the answer gives its boxes."),
    "presence": ("Presence", "Is there one or not? Yes or no."),
    "relation": ("Relations", "Yes or no about regions that the question points at."),
    "detection": ("Detection", "Name everything, each with its box."),
    "text": ("Other questions", "Answers in words, such as counts."),
}

_MEASURES: dict[str, dict[str, tuple[str, str]]] = {
    "referring": {
        "accuracy": ("Accuracy", "the same answer, up to case, articles and punctuation"),
        "macro_accuracy": ("Macro accuracy", "the mean over the classes, each counting alike"),
        "exact_match": ("Exact match", "the same answer to the letter"),
    },
    "yes_no": {
        "accuracy": ("Accuracy", "yes where it is yes, no where it is no"),
        "balanced_accuracy": ("Balanced accuracy", "the mean of the accuracies on yes and on no"),
    },
    "boxes": {
        "acc_50": ("Acc@0.5", "boxes with an IoU of at least 0.5"),
        "acc_60": ("Acc@0.6", ""),
        "acc_70": ("Acc@0.7", ""),
        "acc_80": ("Acc@0.8", ""),
        "acc_90": ("Acc@0.9", ""),
        "mean_iou": ("Mean IoU", "overlap of answered and true boxes"),
        "named_acc_50": ("Acc@0.5 with the right name", "box and the words before it"),
        "parse_failure_rate": ("Answers without a readable box", "lower is better"),
    },
    "text": {
        "accuracy": ("Accuracy", "the same answer, up to case, articles and punctuation"),
        "exact_match": ("Exact match", "the same answer to the letter"),
    },
}
_GROUP = {"presence": "yes_no", "relation": "yes_no", "grounding": "boxes", "detection": "boxes"}
_HEADLINE = (
    ("referring", "accuracy", "Referring"),
    ("grounding", "acc_50", "Grounding, Acc@0.5"),
    ("presence", "accuracy", "Presence"),
    ("relation", "accuracy", "Relations"),
    ("detection", "acc_50", "Detection, Acc@0.5"),
    ("text", "accuracy", "Other questions"),
)


def row(name: str, measure: Mapping[str, Any], *, note: str = "") -> Row:
    """Return a measure of the metrics as a row."""
    levels: Mapping[str, float] = measure["levels"]
    return Row(
        name=name,
        note=note,
        value=measure["value"],
        low=measure["low"],
        high=measure["high"],
        n=measure["n"],
        level=max(levels.values(), default=None),
        levels_text=", ".join(f"{100 * value:.1f}% {level}" for level, value in levels.items()),
    )


def measure_names(kind: str) -> dict[str, tuple[str, str]]:
    """Return key -> (name, explanation) of the measures of a kind of question."""
    return _MEASURES[_GROUP.get(kind, kind)]


def headline(metrics: Mapping[str, Any]) -> list[Row]:
    """Return the main measure of each kind that has questions."""
    kinds = metrics["kinds"]
    return [row(name, kinds[kind][key]) for kind, key, name in _HEADLINE if kind in kinds]


def headline_keys() -> list[tuple[str, str, str]]:
    """Return (kind, key, name) of the main measures."""
    return list(_HEADLINE)


def sections(metrics: Mapping[str, Any]) -> list[Section]:
    """Return a section for each kind that has questions."""
    return [_section(kind, metrics["kinds"][kind]) for kind in TITLES if kind in metrics["kinds"]]


def _section(kind: str, detail: Mapping[str, Any]) -> Section:
    title, lead = TITLES[kind]
    rows = [row(name, detail[key], note=note) for key, (name, note) in measure_names(kind).items()]
    if _GROUP.get(kind) == "boxes":
        rows += [row(f"Acc@0.5, {name}", measure) for name, measure in detail["by_number_of_boxes"].items()]
    if _GROUP.get(kind) == "yes_no":
        rows += [row(f"when it is {name}", measure) for name, measure in detail["when_the_answer_is"].items()]
    classes = detail.get("classes", {}) if kind in ("referring", "grounding") else {}
    return Section(
        kind=kind,
        title=title,
        lead=lead,
        measures=rows,
        facts=_facts(kind, detail),
        classes=[row(name or "(no words)", measure) for name, measure in classes.items()]
        if len(classes) > 1
        else [],
        classes_title="Acc@0.5 by what was asked for" if kind == "grounding" else "Accuracy by class",
        confusion=_confusion(detail.get("confusion")),
        mistakes=list(detail.get("mistakes", []))[:8],
    )


def _facts(kind: str, detail: Mapping[str, Any]) -> str:
    if kind == "referring":
        return f"{detail['number_of_classes']} classes (different answers)."
    if _GROUP.get(kind) == "yes_no":
        said = detail["said"]
        return f"The model said yes {said['yes']}, no {said['no']} and neither {said['unclear']} times."
    if _GROUP.get(kind) == "boxes":
        boxes = detail["boxes"]
        reasons = "; ".join(
            f"{reason} ({count})" for reason, count in detail["parse_failure_reasons"].items()
        )
        return (
            f"{boxes['asked_for']} boxes asked for, {boxes['given']} given, {boxes['right_at_50']} of them "
            f"right at IoU 0.5: precision {100 * boxes['precision_50']:.1f}%, "
            f"recall {100 * boxes['recall_50']:.1f}%."
            + (f" Without a readable box: {reasons}." if reasons else "")
        )
    return ""


def _confusion(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if confusion is None or not 1 < len(confusion["labels"]) <= MAX_CONFUSION:
        return None
    rows = []
    for index, (name, counts) in enumerate(zip(confusion["labels"], confusion["counts"], strict=True)):
        total = max(1, sum(counts))
        cells = [
            {"count": count, "share": round(100 * count / total), "hit": column == index}
            for column, count in enumerate(counts)
        ]
        rows.append({"name": name, "cells": cells})
    return {"columns": confusion["columns"], "rows": rows}
