"""LVIS referring classification: which of two names is the object that a region points at?

You et al. 2024, Ferret, section 5.1: an object of LVIS's validation set is pointed at by a point, a box or a
free-form stroke, and the model chooses between its name and another one. The authors' drawn test set is not
published, so it is drawn here, always the same for a seed:

- one object a picture, from those that aren't crowds and have at least one pixel;
- the other name from all categories except those that the picture has, or may have (not_exhaustive);
- which of the two names is first; the point (up to 4 pixels inside the object's edge) or the stroke (up to
  three straight pieces on the object).

Each choice comes from numpy's default generator seeded with (seed, picture id), the same object and names for
the three kinds of region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.coco_file import corners, object_mask, picture_name
from mustela.evaluate.benchmarks.folder import Pictures, fill, find_file, read_json
from mustela.evaluate.benchmarks.protocol import (
    Answer,
    Benchmark,
    Item,
    LoadOptions,
    Needed,
    Score,
    ScoreTools,
)
from mustela.evaluate.forms import Form, region_of
from mustela.evaluate.measure import measure
from mustela.evaluate.original import names_it

_SOURCE = "https://www.lvisdataset.org/dataset (validation set annotations)"
_FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


def _load(form: Form, root: Path, split: str, options: LoadOptions) -> list[Item]:
    file = find_file(root, f"**/lvis_v1_{split}.json")
    data = read_json(file)
    pictures = Pictures(root)
    categories = {entry["id"]: entry for entry in data["categories"]}
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    items = []
    for image in data["images"]:
        annotations = [entry for entry in by_image.get(image["id"], ()) if not entry.get("iscrowd")]
        found = _draw(image, annotations, categories, form, seed=options.seed, where=str(file))
        if found is None:
            continue
        region, right, wrong, names = found
        items.append(
            Item(
                id=str(image["id"]),
                kind="referring",
                picture=pictures.path(picture_name(image)),
                image_wh=(int(image["width"]), int(image["height"])),
                question=fill(options.prompt, first=names[0], second=names[1]),
                regions=(region,),
                reference=_name(right),
                truth={"right": _names(right), "wrong": _names(wrong)},
                groups={
                    "class": _name(right),
                    "frequency": _FREQUENCIES.get(str(right.get("frequency")), "unknown"),
                    "right name": "first" if names[0] == _name(right) else "second",
                },
            )
        )
    return items


def _draw(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
    form: Form,
    *,
    seed: int,
    where: str,
) -> tuple[Any, Mapping[str, Any], Mapping[str, Any], tuple[str, str]] | None:
    """Return region, right and wrong category and the two names in the order of the question."""
    rng = np.random.default_rng([seed, int(image["id"])])
    size = (int(image["width"]), int(image["height"]))
    for place in rng.permutation(len(annotations)):
        annotation = annotations[int(place)]
        here = f"{where}: object {annotation.get('id')}"
        mask = object_mask(annotation["segmentation"], size, where=here)
        if not mask.any():
            continue
        there = {entry["category_id"] for entry in annotations}
        there |= set(image.get("not_exhaustive_category_ids", ()))
        others = sorted(categories.keys() - there)
        if not others:
            raise RecordError(
                f"{where}: every category may be in picture {image['id']}: nothing to choose from."
            )
        right = categories[annotation["category_id"]]
        wrong = categories[others[int(rng.integers(len(others)))]]
        names = (_name(right), _name(wrong))
        if rng.random() < 0.5:
            names = (names[1], names[0])
        box = corners(annotation["bbox"], where=here)
        return region_of(mask, form, rng=rng, box_xyxy=box), right, wrong, names
    return None


def _name(category: Mapping[str, Any]) -> str:
    """Return a category's name as a person writes it, its qualifier in brackets left out."""
    return str(category["name"]).partition("_(")[0].replace("_", " ")


def _names(category: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": str(category["name"]), "synonyms": list(category.get("synonyms", ()))}


def _score(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    rows, failed = [], []
    for answer in answers:
        text = answer.prediction.text
        right, wrong = (names_it({"text": text, **answer.item.truth[key]}) for key in ("right", "wrong"))
        rows.append({"accuracy": float(right), "only_right_name": float(right and not wrong)})
        failed.append(not (right or wrong))
    predictions = [answer.prediction for answer in answers]
    figures = {name: measure([row[name] for row in rows], predictions, seed=tools.seed) for name in rows[0]}
    figures["accuracy"]["levels"] = {"chance": 0.5}
    figures["macro_accuracy"] = measure(
        [row["accuracy"] for row in rows],
        predictions,
        classes=[answer.item.groups["class"] for answer in answers],
        seed=tools.seed,
    )
    notes = (
        "accuracy is the original's: the answer contains the right name or a synonym outside a negation.",
        "only_right_name also asks that the other name isn't said; parse failures name neither.",
    )
    return Score(figures, rows, failed, notes=notes)


def _benchmark(name: str, title: str, form: Form) -> Benchmark:
    def load(root: Path, split: str, options: LoadOptions) -> list[Item]:
        return _load(form, root, split, options)

    return Benchmark(
        name=name,
        title=title,
        measures="which of two names an object has; the region is given",
        paper="You et al. 2024, Ferret, arXiv:2310.07704, section 5.1; Gupta et al. 2019 (LVIS)",
        licence="CC BY 4.0 (annotations); pictures: COCO's terms",
        size="annotations 0.2 GB, pictures (COCO 2017) 19 GB",
        splits=("val", "train"),
        files=(
            Needed("**/lvis_v1_{split}.json", _SOURCE),
            Needed("**/*.jpg", "https://cocodataset.org/#download (train2017, val2017)", pictures=True),
        ),
        prompt="Is <region> a {first} or a {second}?",
        load=load,
        score=_score,
        max_new_tokens=32,
    )


LVIS_POINT = _benchmark("lvis_point", "LVIS referring, point", "point")
LVIS_BOX = _benchmark("lvis_box", "LVIS referring, box", "box")
LVIS_FREE_FORM = _benchmark("lvis_free_form", "LVIS referring, free-form", "scribble")
