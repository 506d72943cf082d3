"""Flickr30k Entities: the boxes of the phrases of a sentence.

Plummer et al. 2015. A sentence is a question; the answer names its phrases with boxes. Two protocols: a
predicted box is right at IoU >= 0.5 with *any* of the phrase's boxes, or with their hull (*merged*, as MDETR
and Ferret). R@k looks at the first k boxes that the answer gives the phrase, the upper bound at all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mustela.data.formats.xml_file import child_number, child_text, stream_elements
from mustela.errors import RecordError
from mustela.evaluate.benchmarks.figures import measure_statistic, ratio
from mustela.evaluate.benchmarks.folder import Pictures, fill, find_file
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.original import same_phrase
from mustela.regions import Box, box_iou

_ENTITY = re.compile(r"\[/EN#(\d+)((?:/\w+)+) ([^\]]*)\]")
_SOURCE = "https://github.com/BryanPlummer/flickr30k_entities"
_TOP: tuple[tuple[str, int | None], ...] = (("r_1", 1), ("r_5", 5), ("r_10", 10), ("upper_bound", None))
_PROTOCOLS = ("merged", "any")


def _load(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    sentences = find_file(root, "**/Sentences")
    annotations = find_file(root, "**/Annotations")
    listed = find_file(root, f"**/{split}.txt")
    items = []
    for name in listed.read_text(encoding="utf-8").split():
        size, file_name, boxes = _boxes(annotations / f"{name}.xml")
        text = (sentences / f"{name}.txt").read_text(encoding="utf-8")
        for number, line in enumerate(line for line in text.splitlines() if line.strip()):
            phrases = [
                {"text": words, "kinds": kinds.strip("/").split("/"), "boxes_xyxy": boxes[entity]}
                for entity, kinds, words in _ENTITY.findall(line)
                if entity in boxes
            ]
            if not phrases:
                continue
            sentence = _ENTITY.sub(lambda match: match[3], line).strip()
            listed_phrases = ", ".join(dict.fromkeys(phrase["text"] for phrase in phrases))
            items.append(
                Item(
                    id=f"{name}-{number}",
                    kind="grounding",
                    picture=pictures.path(file_name or f"{name}.jpg"),
                    image_wh=size,
                    question=_question(options.prompt, sentence=sentence, phrases=listed_phrases),
                    reference=sentence,
                    boxes=tuple(box for phrase in phrases for box in phrase["boxes_xyxy"]),
                    phrases=tuple(phrase["text"] for phrase in phrases for _ in phrase["boxes_xyxy"]),
                    truth={"phrases": phrases},
                )
            )
    return items


def _question(prompt: str, *, sentence: str, phrases: str) -> str:
    """Fill a prompt with either the phrases or the sentence, or both."""
    fields = {"sentence": sentence, "phrases": phrases}
    used = {name: value for name, value in fields.items() if f"{{{name}}}" in prompt}
    return fill(prompt, **(used or fields))


def _boxes(
    file: Path,
) -> tuple[tuple[int, int] | None, str | None, dict[str, list[BoxXYXY]]]:
    """Return size, picture and the boxes of every entity; published protocols take 1 off all four numbers."""
    if not file.is_file():
        raise RecordError(f"{file}: the boxes of a listed picture are missing.")
    boxes: dict[str, list[BoxXYXY]] = {}
    size, name = None, None
    for annotation in stream_elements(file, "annotation"):
        width, height = child_number(annotation, "size/width"), child_number(annotation, "size/height")
        size = (int(width), int(height)) if width and height else None
        name = child_text(annotation, "filename")
        for element in annotation.iter("object"):
            sides = [child_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            known = [side - 1 for side in sides if side is not None]
            if len(known) == 4:
                for entity in element.findall("name"):
                    box = (known[0], known[1], known[2], known[3])
                    boxes.setdefault((entity.text or "").strip(), []).append(box)
    return size, name, boxes


def hull(boxes: Sequence[BoxXYXY]) -> BoxXYXY:
    """Return the smallest box round all boxes."""
    corners = np.asarray(boxes)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def phrase_hits(phrase: Mapping[str, Any], boxes: Sequence[BoxXYXY]) -> dict[str, float]:
    """Return for both protocols and each k whether a phrase is found by the boxes said for it, in order."""
    truth = [tuple(box) for box in phrase["boxes_xyxy"]]
    targets = {"merged": [hull(truth)], "any": truth}
    found: dict[str, float] = {}
    for protocol in _PROTOCOLS:
        good = [bool(row.any()) for row in box_iou(list(boxes), targets[protocol]) >= 0.5]
        for name, count in _TOP:
            found[f"{protocol}_{name}"] = float(any(good[:count]))
    return found


def _said(answer: Answer) -> list[tuple[str, BoxXYXY]]:
    """Return phrases and boxes of an answer; boxes in a row belong to the phrase before the first."""
    if answer.missing:
        return []
    said: list[tuple[str, BoxXYXY]] = []
    phrase = ""
    for found in answer.prediction.found().regions:
        phrase = found.phrase or phrase
        if isinstance(found.region, Box):
            said.append((phrase, found.region.bounds_xyxy()))
    return said


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    names = [f"{protocol}_{name}" for protocol in _PROTOCOLS for name, _ in _TOP]
    sums, rows, failed = [], [], []
    by_kind: dict[str, list[dict[str, float]]] = {}
    for answer in answers:
        said = _said(answer)
        failed.append(not said)
        hits = []
        for phrase in answer.item.truth["phrases"]:
            boxes = [box for words, box in said if same_phrase(words, phrase["text"])]
            hits.append(phrase_hits(phrase, boxes))
            for kind in phrase["kinds"]:
                by_kind.setdefault(kind, []).append(hits[-1])
        sums.append([sum(hit[name] for hit in hits) for name in names] + [float(len(hits))])
        rows.append({name: sum(hit[name] for hit in hits) / len(hits) for name in names})
    table = np.asarray(sums)
    phrases = int(table[:, -1].sum())
    predictions = [answer.prediction for answer in answers]
    figures = {
        name: measure_statistic(
            table[:, [place, -1]],
            predictions,
            lambda total: ratio(total[0], total[1]),
            count=phrases,
            seed=tools.seed,
        )
        for place, name in enumerate(names)
    }
    kinds = {
        kind: {"phrases": len(hits), **{name: float(np.mean([hit[name] for hit in hits])) for name in names}}
        for kind, hits in sorted(by_kind.items())
    }
    notes = (
        "Figures are shares of phrases; upper_bound counts a phrase as found when any of its boxes is right.",
        "Phrases are compared without case, punctuation and repeated blanks.",
    )
    return Score(figures, rows, failed, {"phrase_kinds": kinds}, notes)


FLICKR30K = Benchmark(
    name="flickr30k",
    title="Flickr30k Entities",
    measures="boxes of a sentence's phrases: R@1, R@5, R@10 and the upper bound, any box and merged boxes",
    paper="Plummer et al. 2015, arXiv:1505.04870",
    licence="for non-commercial research and education; pictures: Flickr's terms",
    size="158,915 sentences about 31,783 pictures in all; see the source",
    splits=("test", "val"),
    files=(
        Needed("**/Sentences/*.txt", f"{_SOURCE} (annotations.zip)"),
        Needed("**/Annotations/*.xml", f"{_SOURCE} (annotations.zip)"),
        Needed("**/{split}.txt", _SOURCE),
        Needed("**/*.jpg", "https://shannon.cs.illinois.edu/DenotationGraph/", pictures=True),
    ),
    prompt="What are the locations of {phrases}?",
    load=_load,
    score=_score,
    max_new_tokens=512,
)
