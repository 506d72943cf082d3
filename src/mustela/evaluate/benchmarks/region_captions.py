"""Region captioning on RefCOCOg and Visual Genome: describe what a box shows.

RefCOCOg (Mao et al. 2016): all sentences about an object are its references. Visual Genome (Krishna et al.
2017): each described region has one; the test pictures are those of DenseCap (Johnson et al. 2016).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.captions import score_captions
from mustela.evaluate.benchmarks.folder import Pictures, find_file, need, objects, read_json
from mustela.evaluate.benchmarks.protocol import Benchmark, Item, LoadOptions, Needed
from mustela.evaluate.benchmarks.refcoco import REFCOCOG, refs_of
from mustela.regions import Box

_VG = "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html"
_PROMPT = "Describe <region> in one short sentence."


def _load_refcocog(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    return [
        Item(
            id=str(ref["ref_id"]),
            kind="referring",
            picture=pictures.path(str(image["file_name"])),
            image_wh=(int(image["width"]), int(image["height"])),
            question=options.prompt,
            regions=(Box(*box),),
            reference=str(ref["sentences"][0]["sent"]),
            truth={"captions": [str(sentence["sent"]) for sentence in ref["sentences"]]},
            groups={"class": ref["category"]} if ref["category"] else {},
        )
        for ref, image, box in refs_of(root, "refcocog", split)
        if ref["sentences"]
    ]


def _load_genome(root: Path, split: str, options: LoadOptions) -> list[Item]:
    pictures = Pictures(root)
    file = find_file(root, "**/region_descriptions.json")
    wanted = None if split == "all" else _densecap_split(root, split)
    sizes = _sizes(root)
    items = []
    for number, entry in enumerate(objects(read_json(file), file)):
        need(entry, ("id", "regions"), path=file, number=number)
        if wanted is not None and entry["id"] not in wanted:
            continue
        for region in entry["regions"]:
            x, y = float(region["x"]), float(region["y"])
            phrase = str(region["phrase"]).strip()
            if not (phrase and region["width"] > 0 and region["height"] > 0):
                continue
            items.append(
                Item(
                    id=str(region["region_id"]),
                    kind="referring",
                    picture=pictures.path(f"{entry['id']}.jpg"),
                    image_wh=sizes.get(entry["id"]),
                    question=options.prompt,
                    regions=(Box(x, y, x + region["width"], y + region["height"]),),
                    reference=phrase,
                    truth={"captions": [phrase]},
                )
            )
    return items


def _densecap_split(root: Path, split: str) -> set[Any]:
    file = next(iter(sorted(root.glob("**/densecap_splits.json"))), None)
    if file is None:
        raise RecordError(
            f"{root}: densecap_splits.json says which pictures are {split}; it is missing. Get it from "
            "https://github.com/jcjohnson/densecap (info/), or take --split all."
        )
    return set(read_json(file)[split])


def _sizes(root: Path) -> dict[Any, tuple[int, int]]:
    file = next(iter(sorted(root.glob("**/image_data.json"))), None)
    entries = objects(read_json(file), file) if file is not None else []
    return {entry["image_id"]: (int(entry["width"]), int(entry["height"])) for entry in entries}


REFCOCOG_CAPTIONS = Benchmark(
    name="refcocog_captions",
    title="RefCOCOg region captioning",
    measures="a description of the object in a box: METEOR and CIDEr-D",
    paper="Mao et al. 2016, arXiv:1511.02283",
    licence=REFCOCOG.licence,
    size=REFCOCOG.size,
    splits=REFCOCOG.splits,
    files=REFCOCOG.files,
    prompt=_PROMPT,
    load=_load_refcocog,
    score=score_captions,
    max_new_tokens=64,
)

GENOME_CAPTIONS = Benchmark(
    name="visual_genome_captions",
    title="Visual Genome region captioning",
    measures="a description of what a box shows: METEOR and CIDEr-D",
    paper="Krishna et al. 2017, arXiv:1602.07332; splits of Johnson et al. 2016, arXiv:1511.07571",
    licence="CC BY 4.0",
    size="pictures 15.2 GB (images.zip, images2.zip); of the annotations: see the source",
    splits=("test", "val", "train", "all"),
    files=(
        Needed("**/region_descriptions.json", f"{_VG} (version 1.2)"),
        Needed("**/image_data.json", _VG),
        Needed("**/*.jpg", f"{_VG} (images.zip, images2.zip)", pictures=True),
    ),
    prompt=_PROMPT,
    load=_load_genome,
    score=score_captions,
    max_new_tokens=64,
)
