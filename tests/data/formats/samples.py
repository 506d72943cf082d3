"""A sample of each format, as small as it shows what the format has."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE = (64, 48)


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)
    return path


def picture_bytes(kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZE, (90, 120, 60)).save(file, kind)
    return file.getvalue()


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def lines(path: Path, *values: object) -> Path:
    return write(path, "".join(json.dumps(value) + "\n" for value in values))


CONVERSATION = [
    {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
    {"from": "gpt", "value": "a dog"},
]
FERRET: dict[str, Any] = {
    "id": "a1", "image": "a.jpg", "image_w": 64, "image_h": 48,
    "conversations": CONVERSATION, "box_x1y1x2y2": [[[10, 20, 40, 44]], []],
}  # fmt: skip
LLAVA = {
    "id": "b",
    "image": "a.jpg",
    "conversations": [
        {"from": "human", "value": "What is this?\n<image>"},
        {"from": "gpt", "value": "A dog."},
    ],
}
COCO: dict[str, Any] = {
    "info": {"year": 2017},
    "licenses": [{"id": 1}],
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
        {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48},
    ],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 18, "bbox": [10, 20, 30, 24], "iscrowd": 0,
         "segmentation": [[10, 20, 40, 20, 40, 44]], "area": 360},
        {"id": 8, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8], "iscrowd": 1,
         "segmentation": {"size": [48, 64], "counts": [0, 8, 40, 8, 3016]}},
        {"id": 9, "image_id": 2, "category_id": 18, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
}  # fmt: skip
LVIS: dict[str, Any] = {
    "images": [
        {"id": 1, "coco_url": "http://images.cocodataset.org/train2017/000000000001.jpg", "width": 64,
         "height": 48, "neg_category_ids": [2], "not_exhaustive_category_ids": [3]}
    ],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}],
    "categories": [{"id": 2, "name": "cup"}, {"id": 3, "name": "hat"}],
}  # fmt: skip
VOC = """<annotation><filename>a.jpg</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>44</ymax></bndbox></object></annotation>"""
LABELME = {
    "version": "5.0",
    "imagePath": "..\\images\\a.jpg",
    "imageWidth": 64,
    "imageHeight": 48,
    "shapes": [
        {"label": "dog", "shape_type": "polygon", "points": [[10, 20], [40, 20], [40, 44]]},
        {"label": "cat", "shape_type": "rectangle", "points": [[30, 30], [10, 5]]},
        {"label": "eye", "shape_type": "point", "points": [[12, 13]]},
        {"label": "path", "shape_type": "linestrip", "points": [[1, 2], [10, 12], [20, 12]]},
        {"label": "ball", "shape_type": "circle", "points": [[30, 20], [35, 20]]},
    ],
}
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
<image id="0" name="a.jpg" width="64" height="48">
<box label="dog" xtl="10" ytl="20" xbr="40" ybr="44"><attribute name="colour">red</attribute></box>
<polygon label="cat" points="10,10;50,10;50,40"/>
<points label="eye" points="5,6"/>
<mask label="sky" rle="5, 2, 3" left="4" top="2" width="5" height="2"/>
</image></annotations>"""
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/a%20b.jpg"},
        "annotations": [
            {
                "result": [
                    {"type": "rectanglelabels", "original_width": 64, "original_height": 48,
                     "value": {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0,
                               "rectanglelabels": ["dog"]}},
                    {"type": "polygonlabels", "original_width": 64, "original_height": 48,
                     "value": {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["cat"]}},
                    {"type": "rectanglelabels", "original_width": 64, "original_height": 48,
                     "value": {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 90,
                               "rectanglelabels": ["turned"]}},
                ]
            }
        ],
    }
]  # fmt: skip
REFS = [
    {"ref_id": 0, "ann_id": 7, "category_id": 18, "image_id": 1, "split": "train", "sent_ids": [0, 1],
     "file_name": "COCO_train2014_000000000001_7.jpg",
     "sentences": [{"sent": "the left dog", "raw": "The left dog"}, {"sent": "brown dog"}]},
    {"ref_id": 1, "ann_id": 9, "category_id": 18, "image_id": 2, "split": "testA", "sent_ids": [2],
     "file_name": "b_9.jpg", "sentences": [{"sent": "small one"}]},
]  # fmt: skip
VISUAL_GENOME: Mapping[str, Any] = {
    "o.json": [{"image_id": 1, "objects": [
        {"object_id": 5, "x": 1, "y": 2, "w": 3, "h": 4, "names": ["clock"]},
        {"object_id": 6, "x": 10, "y": 20, "w": 30, "h": 24, "names": ["wall"]}]}],
    "a.json": [{"image_id": 1, "attributes": [
        {"object_id": 5, "x": 1, "y": 2, "w": 3, "h": 4, "names": ["clock"],
         "attributes": ["green", "tall"]}]}],
    "r.json": [{"image_id": 1, "relationships": [
        {"predicate": "ON", "subject": {"object_id": 5, "x": 1, "y": 2, "w": 3, "h": 4, "name": "clock"},
         "object": {"object_id": 6, "x": 10, "y": 20, "w": 30, "h": 24, "name": "wall"}}]}],
    "d.json": [{"id": 1, "regions": [
        {"region_id": 3, "x": 1, "y": 2, "width": 3, "height": 4, "phrase": "a green clock"}]}],
    "i.json": [{"image_id": 1, "width": 64, "height": 48, "url": "https://x/rak248/VG_100K_2/1.jpg"}],
}  # fmt: skip
FLICKR_TEXT = "[/EN#1/people Two young guys] with [/EN#2/bodyparts shaggy hair] look up .\nA plain one .\n"
FLICKR_XML = """<annotation><filename>12.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>1</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>
<object><name>1</name><bndbox><xmin>31</xmin><ymin>1</ymin><xmax>60</xmax><ymax>30</ymax></bndbox></object>
<object><name>2</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>"""
OSPREY = [
    {"id": "1", "file_name": "a.jpg", "height": 48, "width": 64,
     "annotation": [{"bbox": [10, 20, 30, 24], "segmentation": [[10, 20, 40, 20, 40, 44]]},
                    {"bbox": [0, 0, 8, 8], "segmentation": [[0, 0, 8, 0, 8, 8]]}],
     "conversations": [{"from": "human", "value": "What is <region2> doing to <region1>?"},
                       {"from": "gpt", "value": "<region2> looks at <region1>."}]},
    {"id": "2", "file_name": "a.jpg", "height": 48, "width": 64,
     "annotation": [{"bbox": [0, 0, 8, 8], "segmentation": [[0, 0, 8, 0, 8, 8]]}],
     "description": ["<region1>: A man in a blue shirt."]},
]  # fmt: skip
SHIKRA = [
    {"image": "a.jpg", "width": 64, "height": 48, "boxes": [[10, 20, 40, 44], [0, 0, 8, 8]],
     "conversations": [{"from": "human", "value": "Is <boxes> near <boxes>?", "boxes_seq": [[0], [1]]},
                       {"from": "gpt", "value": "Yes, both <boxes>.", "boxes_seq": [[0, 1]]}]},
    {"img_path": "a.jpg", "expression": "the left dog", "bbox": [10, 20, 40, 44]},
    {"img_path": "a.jpg", "boxes": [[10, 20, 40, 44]], "question": "What is <boxes>?",
     "question_boxes_seq": [[0]], "cot_with_ans": "It <boxes> is a dog.", "answer_boxes_seq": [[0]]},
    {"img_path": "a.jpg", "boxes": [[10, 20, 40, 44]], "sentence": "<ph_st>A dog<ph_ed> runs.",
     "boxes_seq": [[0]]},
]  # fmt: skip
SWIFT = {
    "messages": [{"role": "user", "content": "<image>Find <ref-object>."},
                 {"role": "assistant", "content": "<ref-object> is at <bbox> and at <bbox>."}],
    "images": ["a.jpg"],
    "objects": {"ref": ["a dog", "A dog"], "bbox": [[10, 20, 40, 44], [0, 0, 8, 8]]},
}  # fmt: skip
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "image", "image": "a.jpg"},
            {"type": "text", "text": "What is "},
            {"type": "region", "region": {"type": "box", "xyxy": [10, 20, 40, 44]}},
            {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
    ]
}  # fmt: skip
GRIT = {
    "key": "000001", "caption": "A dog and a cat.", "url": "http://x/1.jpg", "width": 64, "height": 48,
    "noun_chunks": [[0.0, 5.0, 0.25, 0.5, 0.75, 1.0, 0.9], [10.0, 15.0, 0.0, 0.0, 0.5, 0.5, 0.8]],
    "ref_exps": [[0.0, 5.0, 0.25, 0.5, 0.75, 1.0, 0.9]], "clip_similarity_vitb32": 0.3,
}  # fmt: skip


def _voc(folder: Path) -> Path:
    write(folder / "Annotations/a.xml", VOC)
    return folder


def _yolo(folder: Path) -> Path:
    picture(folder / "images/train/a.jpg")
    write(folder / "labels/train/a.txt", "0 0.5 0.5 0.5 0.25\n1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    write(folder / "data.yaml", "names: [dog, cat]\ntrain: images/train\n")
    return folder


def _refcoco(folder: Path) -> Path:
    write(folder / "instances.json", COCO)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(REFS, protocol=2))
    return folder


def _visual_genome(folder: Path) -> Path:
    for name, content in VISUAL_GENOME.items():
        write(folder / name, content)
    return folder


def _flickr(folder: Path) -> Path:
    write(folder / "Sentences/12.txt", FLICKR_TEXT)
    write(folder / "Annotations/12.xml", FLICKR_XML)
    return folder


def _grit(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist([GRIT]), folder / "x.parquet")
    return folder / "x.parquet"


def _table(folder: Path) -> Path:
    rows = [
        {"image": {"bytes": picture_bytes(), "path": "a.jpg"},
         "objects": {"bbox": [[10, 20, 30, 24]], "category": [1]}, "caption": "A dog."}
    ]  # fmt: skip
    features = {
        "image": {"_type": "Image"},
        "objects": {
            "bbox": {"_type": "List", "feature": {"_type": "List", "feature": {"_type": "Value"}}},
            "category": {"_type": "List", "feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}},
        },
    }
    table = pa.Table.from_pylist(rows)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "train.parquet")
    return folder


def add_to_tar(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _webdataset(folder: Path) -> Path:
    with tarfile.open(folder / "0.tar", "w") as tar:
        add_to_tar(tar, "000001.jpg", picture_bytes())
        add_to_tar(tar, "000001.json", json.dumps({"conversations": CONVERSATION,
                   "box_x1y1x2y2": [[[10, 20, 40, 44]], []]}).encode())  # fmt: skip
        add_to_tar(tar, "000002.png", picture_bytes("PNG"))
        add_to_tar(tar, "000002.txt", b"A green field.")
    return folder / "0.tar"


SAMPLES: Mapping[str, Callable[[Path], Path]] = {
    "ferret": lambda folder: write(folder / "x", [FERRET]),
    "llava": lambda folder: write(folder / "x", [LLAVA]),
    "coco": lambda folder: write(folder / "x", COCO),
    "voc": _voc,
    "yolo": _yolo,
    "labelme": lambda folder: write(folder / "a.json", LABELME).parent,
    "cvat": lambda folder: write(folder / "x", CVAT),
    "label_studio": lambda folder: write(folder / "x", LABEL_STUDIO),
    "refcoco": _refcoco,
    "visual_genome": _visual_genome,
    "flickr30k": _flickr,
    "osprey": lambda folder: write(folder / "x", OSPREY),
    "shikra": lambda folder: lines(folder / "x", *SHIKRA),
    "swift": lambda folder: lines(folder / "x", SWIFT),
    "chat": lambda folder: lines(folder / "x", CHAT),
    "grit": _grit,
    "table": _table,
    "webdataset": _webdataset,
}
"""Writes the sample of a format into a folder and returns what to read."""


def brush(mask: np.ndarray) -> list[int]:
    """Label Studio's packing of a mask (H, W), the simplest that it allows: single values, no runs."""
    values = np.zeros((*mask.shape, 4), dtype=np.uint8)
    values[mask] = 255
    flat = values.reshape(-1)
    bits = f"{flat.size:032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"
    start = 0
    while start < flat.size:
        end = start
        while end < flat.size and flat[end] == flat[start]:
            end += 1
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{flat[start]:08b}"
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
