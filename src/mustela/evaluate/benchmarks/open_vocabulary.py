"""Open-ended region classification on LVIS and PACO: how near is the answer to the name?

Yuan et al. 2024, Osprey: the model names the object (LVIS) or the part of an object (PACO) under a mask in
its own words. Semantic IoU is the overlap of the sets of words, semantic similarity the cosine of the
embeddings of a sentence encoder (in the paper all-MiniLM-L6-v2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mustela.evaluate.benchmarks.coco_file import object_mask
from mustela.evaluate.benchmarks.figures import measure_range
from mustela.evaluate.benchmarks.folder import Pictures, find_file, need, read_json_lines
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
from mustela.regions import Mask

_SOURCE = "https://huggingface.co/datasets/sunshine-lwt/Osprey-ValData"


def _load(file_name: str, root: Path, options: LoadOptions) -> list[Item]:
    file = find_file(root, f"**/{file_name}")
    pictures = Pictures(root)
    items = []
    for number, image in enumerate(read_json_lines(file)):
        need(image, ("file_name", "width", "height", "annotations", "categories"), path=file, number=number)
        size = (int(image["width"]), int(image["height"]))
        for place, (annotation, name) in enumerate(
            zip(image["annotations"], image["categories"], strict=True)
        ):
            where = f"{file}: entry {number}, object {place}"
            mask = object_mask(annotation["segmentation"], size, where=where)
            if not mask.any():
                continue
            category = str(name).replace("_", " ")
            items.append(
                Item(
                    id=f"{image.get('id', number)}-{place}",
                    kind="referring",
                    picture=pictures.path(str(image["file_name"])),
                    image_wh=size,
                    question=options.prompt,
                    regions=(Mask.from_array(mask),),
                    reference=category,
                    groups={"class": category},
                )
            )
    return items


def read_name(text: str) -> str:
    """Return the words of an answer that count as the name.

    What follows the first colon, if there is one, in small letters, without full stops, colons and commas.
    """
    said = text.strip().removesuffix(".")
    said = said.split(":")[1] if ":" in said else said
    for mark in ".:,":
        said = said.replace(mark, " ")
    return " ".join(said.lower().split())


def semantic_iou(first: str, second: str) -> float:
    """Return the overlap of two texts' sets of words; 0 where neither has a word."""
    a, b = set(first.lower().split()), set(second.lower().split())
    return len(a & b) / len(a | b) if a | b else 0.0


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    predictions = [answer.prediction for answer in answers]
    said = [read_name(item.text) for item in predictions]
    names = [answer.item.reference for answer in answers]
    rows = [{"semantic_iou": semantic_iou(text, name)} for text, name in zip(said, names, strict=True)]
    figures = {}
    notes: tuple[str, ...] = ("semantic_similarity needs a sentence encoder (--sentence_encoder DIR).",)
    if tools.encoder is not None:
        notes = ()
        near = tools.encoder.similarities(said, names)
        for row, value in zip(rows, near, strict=True):
            row["semantic_similarity"] = value
        figures["semantic_similarity"] = measure_range(
            near, predictions, least=-1.0, most=1.0, seed=tools.seed
        )
    figures = {
        "semantic_iou": measure([row["semantic_iou"] for row in rows], predictions, seed=tools.seed),
        **figures,
    }
    return Score(figures, rows, [not text for text in said], notes=notes)


def _benchmark(name: str, title: str, file_name: str) -> Benchmark:
    def load(root: Path, split: str, options: LoadOptions) -> list[Item]:
        return _load(file_name, root, options)

    return Benchmark(
        name=name,
        title=title,
        measures="the name of what a mask covers, in the model's own words: semantic IoU and similarity",
        paper="Yuan et al. 2024, Osprey, arXiv:2312.10032",
        licence="the selection states none; LVIS: CC BY 4.0; PACO: see its source; pictures: COCO's terms",
        size="annotations 4 MB, pictures (COCO 2017) 19 GB",
        splits=("val",),
        files=(
            Needed(f"**/{file_name}", _SOURCE),
            Needed("**/*.jpg", "https://cocodataset.org/#download (train2017, val2017)", pictures=True),
        ),
        prompt="What is the category of <region>? Using only one word or phrase.",
        load=load,
        score=_score,
        max_new_tokens=16,
    )


LVIS_OPEN = _benchmark("lvis_open", "LVIS, open-ended", "lvis_val_1k_category.json")
PACO_OPEN = _benchmark("paco_open", "PACO, open-ended", "paco_val_1k_category.json")
