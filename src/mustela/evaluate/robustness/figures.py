"""Figures of robustness: what an answer should not hang on, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from mustela.evaluate.answers import normalise_answer
from mustela.evaluate.intervals import interval
from mustela.evaluate.robustness.variants import FAMILIES


@dataclass(frozen=True)
class VariantAnswer:
    """What was answered to a variant."""

    question_id: str
    picture: str
    family: str
    name: str
    question: str
    reference: str
    text: str

    @property
    def words(self) -> str:
        """The answer as it is compared: without case, punctuation and articles."""
        return normalise_answer(self.text)

    @property
    def is_right(self) -> bool:
        """Whether it is the reference answer."""
        return self.words == normalise_answer(self.reference)


def score_robustness(answers: Sequence[VariantAnswer], *, seed: int = 0) -> dict[str, Any]:
    """Return for every family of variants its figures, each a mean over questions with a 95 % interval.

    - consistency: the share of pairs, out of the plain question and its variants, with the same answer
    - accuracy: the share of variants that are answered right
    - worst_case: the share of questions that are right plainly and under all variants
    - loss: the plain accuracy minus the accuracy
    - by_variant: the accuracy of each

    Of `nothing`, where there is no right answer: `names_an_object`, the share of answers that are the
    reference answer of some question (an object is named where there is none), and `same_answer`, the share
    that repeats the plain question's answer.
    """
    plain = {answer.question_id: answer for answer in answers if answer.family == "plain"}
    known = {normalise_answer(answer.reference) for answer in plain.values()}
    result: dict[str, Any] = {
        "questions": len(plain),
        "plain_accuracy": _figure(
            [(float(item.is_right), item.picture) for item in plain.values()], seed=seed
        ),
        "families": {},
    }
    for family in FAMILIES:
        groups: dict[str, list[VariantAnswer]] = {}
        for answer in answers:
            if answer.family == family:
                groups.setdefault(answer.question_id, []).append(answer)
        if not groups:
            continue
        if family == "nothing":
            result["families"][family] = _nothing(groups, plain, known, seed=seed)
        else:
            result["families"][family] = _family(groups, plain, seed=seed)
    return result


def _family(
    groups: Mapping[str, Sequence[VariantAnswer]], plain: Mapping[str, VariantAnswer], *, seed: int
) -> dict[str, Any]:
    rows: dict[str, list[tuple[float, str]]] = {"consistency": [], "accuracy": [], "worst_case": []}
    by_variant: dict[str, list[tuple[float, str]]] = {}
    for name, variants in groups.items():
        base = plain[name]
        pairs = [first.words == second.words for first, second in combinations([base, *variants], 2)]
        right = [answer.is_right for answer in variants]
        rows["consistency"].append((sum(pairs) / len(pairs), base.picture))
        rows["accuracy"].append((sum(right) / len(right), base.picture))
        rows["worst_case"].append((float(base.is_right and all(right)), base.picture))
        for answer in variants:
            by_variant.setdefault(answer.name, []).append((float(answer.is_right), base.picture))
    figures: dict[str, Any] = {name: _figure(values, seed=seed) for name, values in rows.items()}
    base_accuracy = sum(plain[name].is_right for name in groups) / len(groups)
    figures["loss"] = base_accuracy - figures["accuracy"]["value"]
    figures["by_variant"] = {name: _figure(values, seed=seed) for name, values in by_variant.items()}
    return figures


def _nothing(
    groups: Mapping[str, Sequence[VariantAnswer]],
    plain: Mapping[str, VariantAnswer],
    known: set[str],
    *,
    seed: int,
) -> dict[str, Any]:
    named, same = [], []
    for name, variants in groups.items():
        (answer,) = variants
        named.append((float(answer.words in known), answer.picture))
        same.append((float(answer.words == plain[name].words), answer.picture))
    return {"names_an_object": _figure(named, seed=seed), "same_answer": _figure(same, seed=seed)}


def _figure(rows: Sequence[tuple[float, str]], *, seed: int) -> dict[str, Any]:
    scores, pictures = [score for score, _ in rows], [picture for _, picture in rows]
    bounds = interval(scores, pictures, seed=seed)
    value = sum(scores) / len(scores) if scores else 0.0
    return {
        "value": value,
        "n": len(rows),
        "low": bounds.low,
        "high": bounds.high,
        "interval": bounds.method,
        "levels": {},
    }
