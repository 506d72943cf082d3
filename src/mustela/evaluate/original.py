"""The four scorers of Ferret, figure for figure, so that its published numbers can be compared with.

They keep the original's conventions, also the unlucky ones: one unreadable bracket voids an answer, a
negation is found inside other words, case matters. `mustela.evaluate.score_predictions` has none of these.
What differs, because the original crashes or counts the wrong thing: predictions are matched by id and not by
position, numbers that don't add up are errors, nothing is divided by zero, and a bracket with fewer than four
numbers voids the answer instead of ending the evaluation.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mustela.errors import RecordError

__all__ = [
    "FlickrPhrase",
    "names_it",
    "read_boxes",
    "same_phrase",
    "says_yes",
    "score_flickr",
    "score_lvis",
    "score_pope",
    "score_refexp",
]

BoxXYXY = tuple[int, int, int, int]
_NO_BOX: BoxXYXY = (0, 0, 0, 0)
_THRESHOLD = 0.5
_SETS = ("refcoco", "refcoco+", "refcocog")


def read_boxes(text: str, size_wh: tuple[int, int]) -> list[tuple[str, BoxXYXY]]:
    """Return the phrases and boxes of an answer.

    Args:
        text: the answer, with boxes as `[x1, y1, x2, y2]` in thousandths.
        size_wh: of the picture in pixels.

    Returns:
        Phrases and boxes in whole pixels, cut off below; neither clipped nor put in order. Nothing at all if
        any bracket can't be read.
    """
    found: list[tuple[str, BoxXYXY]] = []
    start, phrase, place = 0, "", 0
    while place < len(text):
        if text[place] == "[":
            phrase, start = text[start:place].strip(), place + 1
        elif text[place] == "]":
            try:
                numbers = [int(part) for part in text[start:place].split(",")]
            except ValueError:
                return []
            if len(numbers) < 4:
                return []
            scaled = (int(number * size_wh[side % 2] / 1000) for side, number in enumerate(numbers[:4]))
            found.append((phrase, tuple(scaled)))  # type: ignore[arg-type]
            ends = [at for mark in ".,;!?" if (at := text.find(mark, place)) >= 0]
            start = min(ends) + 1 if ends else len(text)
        place += 1
    return found


def same_phrase(first: str, second: str) -> bool:
    """Tell whether two phrases are equal without case, punctuation and repeated blanks."""

    def plain(text: str) -> str:
        # The data set writes "man 's" where a model writes "man's".
        kept = text.lower().replace("'s", " 's").translate(str.maketrans("", "", string.punctuation))
        return " ".join(kept.split())

    return plain(first) == plain(second)


def score_refexp(
    ground_truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Score answers to referring expressions by IoU >= 0.5.

    Args:
        ground_truth: `images` (id, dataset_name, width, height) and `annotations` (image_id, bbox xywh).
        predictions: `image_id` and `text`.

    Returns:
        For each set `first` (the answer's first box), `mean` (the mean of its boxes) and `best` (any).

    Raises:
        RecordError: predictions are missing, repeated, or of unknown pictures.
    """
    truth = {entry["image_id"]: entry["bbox"] for entry in ground_truth["annotations"]}
    images = {image["id"]: image for image in ground_truth["images"]}
    _check_ids([entry["image_id"] for entry in predictions], set(images))
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _SETS}
    for entry in predictions:
        image = images[entry["image_id"]]
        boxes = [box for _, box in read_boxes(entry["text"], (image["width"], image["height"]))] or [_NO_BOX]
        x, y, width, height = truth[entry["image_id"]]
        target = (x, y, x + width, y + height)
        hits = [_iou(box, target) >= _THRESHOLD for box in boxes]
        mean = tuple(np.mean(boxes, axis=0))
        scores.setdefault(image["dataset_name"], []).append(
            (float(hits[0]), float(_iou(mean, target) >= _THRESHOLD), float(any(hits)))
        )
    names = ("first", "mean", "best")
    return {
        name: dict(zip(names, np.mean(rows, axis=0).tolist() if rows else [0.0] * 3, strict=True))
        for name, rows in scores.items()
    }


def _check_ids(given: Sequence[Any], known: set[Any]) -> None:
    missing, unknown = known - set(given), set(given) - known
    if missing or unknown or len(given) != len(set(given)):
        raise RecordError(
            f"{len(given)} predictions for {len(known)} pictures: {len(missing)} missing, {len(unknown)} of "
            f"unknown pictures, {len(given) - len(set(given))} repeated. Each picture needs one."
        )


def _iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Overlap in single precision, as there, which decides cases at exactly one half."""
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    return float(overlap / union) if union > 0 else 0.0


def score_pope(answers: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Score yes/no answers; an answer with No, no or not before its first period is a no, all others a yes.

    Raises:
        RecordError: lengths differ, or a label is neither yes nor no.
    """
    if len(answers) != len(labels):
        raise RecordError(f"{len(answers)} answers for {len(labels)} labels: they are matched one by one.")
    wrong = sorted({label for label in labels if label.lower() not in ("yes", "no")})
    if wrong:
        raise RecordError(f"The label {wrong[0]!r} is neither yes nor no.")
    said = [says_yes(answer) for answer in answers]
    truth = [label.lower() == "yes" for label in labels]
    pairs = list(zip(said, truth, strict=True))
    hits, false = pairs.count((True, True)), pairs.count((True, False))
    misses = pairs.count((False, True))
    precision, recall = _ratio(hits, hits + false), _ratio(hits, hits + misses)
    return {
        "accuracy": _ratio(sum(a == b for a, b in pairs), len(pairs)),
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * precision * recall, precision + recall),
        "yes_ratio": _ratio(sum(said), len(said)),
    }


def says_yes(answer: str) -> bool:
    """Tell whether an answer counts as a yes: neither No, no nor not is among its words before a period."""
    return not {"No", "no", "not"} & set(_first_sentence(answer))


def _first_sentence(answer: str) -> list[str]:
    return answer.partition(".")[0].replace(",", "").split(" ")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def score_lvis(predictions: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of answers (`text`) that contain `name` or one of `synonyms` and don't negate it."""
    right = [names_it(entry) for entry in predictions]
    return _ratio(sum(right), len(right))


def names_it(entry: Mapping[str, Any]) -> bool:
    """Tell whether an answer (`text`) contains `name` or one of `synonyms` outside a negation."""
    text = str(entry["text"])
    for negation in ("not", "no"):
        text = re.sub(rf"\s{negation}.*?[,.]", "", text)
    names = [name.replace("_", " ") for name in (entry["name"], *entry["synonyms"])]
    split = [piece for name in names for piece in _without_qualifier(name)]
    return any(name in text for name in split)


def _without_qualifier(name: str) -> list[str]:
    match = re.fullmatch(r"([^()]*)\(([^()]*)\)", name)
    return [match[1].strip(), match[2].strip()] if match is not None else [name]


@dataclass(frozen=True)
class FlickrPhrase:
    """A phrase of a sentence of Flickr30k Entities.

    Attributes:
        text: its words.
        kinds: people, clothing, ...
        boxes_xyxy: of what it names; their hull is the target.
    """

    text: str
    kinds: tuple[str, ...]
    boxes_xyxy: tuple[tuple[float, float, float, float], ...]


def score_flickr(
    sentences: Sequence[Sequence[FlickrPhrase]],
    answers: Sequence[str],
    sizes_wh: Sequence[tuple[int, int]],
    *,
    top: Sequence[int | None] = (1, 5, 10, None),
) -> dict[str, dict[int | None, float]]:
    """Return recall at k: the share of phrases with a box of IoU >= 0.5 among the first k said for them.

    Args:
        sentences: the phrases of each sentence that have boxes.
        answers: one for each sentence, in order.
        sizes_wh: of each sentence's picture.
        top: values of k; None means all boxes.

    Returns:
        For `all` and each kind of phrase, the recall at each k.

    Raises:
        RecordError: the three lengths differ.
    """
    if not len(sentences) == len(answers) == len(sizes_wh):
        raise RecordError(
            f"{len(answers)} answers and {len(sizes_wh)} sizes for {len(sentences)} sentences: they are "
            "matched one by one."
        )
    hits: dict[str, list[list[bool]]] = {"all": []}
    for phrases, answer, size in zip(sentences, answers, sizes_wh, strict=True):
        said = read_boxes(answer, size)
        for phrase in phrases:
            boxes = [box for words, box in said if same_phrase(words, phrase.text)] or [_NO_BOX]
            corners = np.asarray(phrase.boxes_xyxy)
            hull = (*corners[:, :2].min(0), *corners[:, 2:].max(0))
            good = [_iou(box, hull) >= _THRESHOLD for box in boxes]
            row = [any(good[:count]) for count in top]
            for kind in ("all", *phrase.kinds):
                hits.setdefault(kind, []).append(row)
    return {
        kind: {count: _ratio(sum(row[at] for row in rows), len(rows)) for at, count in enumerate(top)}
        for kind, rows in hits.items()
    }
