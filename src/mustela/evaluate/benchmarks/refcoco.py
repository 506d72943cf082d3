"""RefCOCO, RefCOCO+ and RefCOCOg: the box of the one object that a sentence means.

Yu et al. 2016, Modeling Context in Referring Expressions; Mao et al. 2016 (RefCOCOg, here with the UMD
splits). Every sentence of every object is a question; the answer's first box counts, as in the papers on
language models that write boxes. The splits google_... are Google's, of the files refs(google).p.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mustela.data.formats.plain_pickle import load_plain_pickle
from mustela.errors import RecordError
from mustela.evaluate.benchmarks.first_box import score_first_box
from mustela.evaluate.benchmarks.folder import Pictures, fill, need, objects, read_json
from mustela.evaluate.benchmarks.protocol import Benchmark, Item, LoadOptions, Needed
from mustela.evaluate.matching import BoxXYXY

_SOURCE = "https://github.com/lichengunc/refer (the mirrors of the three zip files named there)"
_IMAGES = "http://images.cocodataset.org/zips/train2014.zip"
_GOOGLE = "google_"
_SPLITS = {
    "refcoco": ("val", "testA", "testB", "google_val", "google_test"),
    "refcoco+": ("val", "testA", "testB"),
    "refcocog": ("val", "test", "google_val"),
}
_LICENCES = {
    "refcocog": "Apache-2.0 (refer's files), CC BY 4.0 (Google's annotations); pictures: COCO's terms"
}
_TITLES = {"refcoco": "RefCOCO", "refcoco+": "RefCOCO+", "refcocog": "RefCOCOg (UMD)"}


def refs_of(root: Path, name: str, split: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], BoxXYXY]]:
    """Yield (ref, COCO image, box in pixels) of the objects of a split, in the order of the file."""
    folder = root / name if (root / name).is_dir() else root
    makers = "google" if split.startswith(_GOOGLE) else "umd" if name == "refcocog" else "unc"
    file, named = folder / f"refs({makers}).p", split.removeprefix(_GOOGLE)
    instances = folder / "instances.json"
    coco = read_json(instances)
    images = {entry["id"]: entry for entry in coco["images"]}
    annotations = {entry["id"]: entry for entry in coco["annotations"]}
    categories = {entry["id"]: str(entry["name"]) for entry in coco.get("categories", ())}
    for number, ref in enumerate(objects(load_plain_pickle(file), file)):
        need(ref, ("ref_id", "ann_id", "image_id", "split", "sentences"), path=file, number=number)
        if ref["split"] != named:
            continue
        if ref["ann_id"] not in annotations or ref["image_id"] not in images:
            raise RecordError(f"{instances}: the object or picture of ref {ref['ref_id']} is missing.")
        annotation = annotations[ref["ann_id"]]
        x, y, width, height = (float(value) for value in annotation["bbox"])
        category = categories.get(annotation.get("category_id"), "")
        yield {**ref, "category": category}, images[ref["image_id"]], (x, y, x + width, y + height)


def _load(name: str, root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    return [
        Item(
            id=f"{ref['ref_id']}-{sentence.get('sent_id', number)}",
            kind="grounding",
            picture=pictures.path(str(image["file_name"])),
            image_wh=(int(image["width"]), int(image["height"])),
            question=fill(options.prompt, expression=str(sentence["sent"])),
            reference=str(sentence["sent"]),
            boxes=(box,),
            phrases=(str(sentence["sent"]),),
            groups={"class": ref["category"]} if ref["category"] else {},
        )
        for ref, image, box in refs_of(root, name, split)
        for number, sentence in enumerate(ref["sentences"])
    ]


def _benchmark(name: str) -> Benchmark:
    def load(root: Path, split: str, options: LoadOptions) -> list[Item]:
        return _load(name, root, split, options)

    refs = f"refs({'umd' if name == 'refcocog' else 'unc'}).p"
    google = tuple(split for split in _SPLITS[name] if split.startswith(_GOOGLE))
    files = [
        Needed(f"{name}/{refs} | {refs}", _SOURCE, splits=tuple(s for s in _SPLITS[name] if s not in google))
    ]
    if google:
        files.append(Needed(f"{name}/refs(google).p | refs(google).p", _SOURCE, splits=google))
    return Benchmark(
        name=name,
        title=_TITLES[name],
        measures="the box of the object that a sentence means: accuracy at IoU 0.5 (to 0.9), first box",
        paper="Yu et al. 2016, arXiv:1608.00272"
        if name != "refcocog"
        else "Mao et al. 2016, arXiv:1511.02283; splits of Nagaraja et al. 2016",
        licence=_LICENCES.get(name, "Apache-2.0 (annotations); pictures: COCO's terms"),
        size="annotations: tens of MB, pictures (COCO train2014) 13 GB",
        splits=_SPLITS[name],
        files=(
            *files,
            Needed(f"{name}/instances.json | instances.json", _SOURCE),
            Needed("**/COCO_train2014_*.jpg", _IMAGES, pictures=True),
        ),
        prompt="Where is {expression}?",
        load=load,
        score=score_first_box,
        max_new_tokens=64,
    )


REFCOCO, REFCOCO_PLUS, REFCOCOG = (_benchmark(name) for name in _SPLITS)
