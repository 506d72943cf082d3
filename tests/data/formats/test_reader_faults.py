"""YOLO, VOC, tables, GRIT, Shikra, Osprey and RefCOCO: one bad record is that record's fault."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.data.formats.samples import OSPREY, SHIKRA, lines, picture, write

from mustela.data.formats import FORMATS, Source
from mustela.data.formats.embedded import size_of
from mustela.data.formats.tabular import _name
from mustela.errors import RecordError

BOX = "0 0.5 0.5 0.5 0.25\n"


def read(name: str, path: Path, **options: Any) -> tuple[list[Any], str]:
    """Return what a format's reader finds, and the faults."""
    found = list(FORMATS[name].read(Source(path, **options)))
    return [each.value for each in found if each.value is not None], "\n".join(
        each.fault for each in found if each.fault is not None
    )


def yolo(folder: Path, label: str = BOX, **files: str) -> Path:
    picture(folder / "a.jpg")
    (folder / "a.txt").write_text(label, encoding="utf-8")
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return folder


def test_yolo_reports_an_odd_line_and_keeps_the_others(tmp_path: Path) -> None:
    (scene,), faults = read("yolo", yolo(tmp_path, "dog here\n" + BOX, classes_txt="dog\n"))
    assert [thing.name for thing in scene.things] == ["dog"]
    assert "'dog here'" in faults


def test_yolo_names_come_from_no_picture_and_no_readme(tmp_path: Path) -> None:
    folder = yolo(tmp_path, "odd\n" + BOX, README_txt="Hello\n", zebras_txt="dog\n")
    assert read("yolo", folder)[0][0].things[0].name == "dog"
    write(folder / "data.yaml", "names: [cat]\n")
    assert read("yolo", folder)[0][0].things[0].name == "cat"
    write(folder / "classes.txt", "\ufeffcow\n")
    assert read("yolo", folder)[0][0].things[0].name == "cow"


def test_yolo_class_without_a_name_and_bom(tmp_path: Path) -> None:
    (scene,), faults = read("yolo", yolo(tmp_path, "\ufeff" + BOX + "5" + BOX[1:], classes_txt="dog\n"))
    assert len(scene.things) == 1
    assert "class 5 has no name" in faults


def test_yolo_quoted_numbers_are_numbers(tmp_path: Path) -> None:
    (scene,), _ = read("yolo", yolo(tmp_path, data_yaml='names: {"0": dog}\n'))
    assert scene.things[0].name == "dog"


@pytest.mark.parametrize("names", ["{}", "{dog: 0}", "[]", "dog"])
def test_yolo_names_of_another_kind(names: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"data\.yaml: `names` is"):
        read("yolo", yolo(tmp_path, data_yaml=f"names: {names}\n"))


def test_yolo_labels_in_another_encoding(tmp_path: Path) -> None:
    yolo(tmp_path, classes_txt="dog\n")
    (tmp_path / "a.txt").write_bytes(b"0 \xff\xff")
    assert "not UTF-8" in read("yolo", tmp_path)[1]


def test_voc_split_names_with_dots_and_blanks(tmp_path: Path) -> None:
    for name in ("a.v1", "img 1", "b", "c"):
        write(tmp_path / f"{name}.xml", "<annotation></annotation>")
    write(tmp_path / "val.txt", "a.v1\nimg 1\nb  1\nc.jpg\nlost -1\n")
    scenes, faults = read("voc", tmp_path, split="val")
    assert sorted(scene.id for scene in scenes) == ["a.v1", "b", "c", "img 1"]
    assert "no lost.xml" in faults


def test_xml_in_gbk_and_in_an_unknown_encoding(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="{}"?><annotation><object><name>狗</name></object></annotation>'
    (tmp_path / "a.xml").write_bytes(text.format("GBK").encode("gbk"))
    (tmp_path / "b.xml").write_bytes(text.format("klingon").encode())
    (scene,), faults = read("voc", tmp_path)
    assert scene.things[0].name == "狗"
    assert "unknown encoding 'klingon'" in faults


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"annotation": [None]}, "annotation 1 is None"),
        ({"conversations": [{"from": "system", "value": "x"}]}, "no turn of human"),
        ({"conversations": [None]}, "can't be read"),
    ],
)
def test_osprey_faults(change: dict[str, Any], fault: str, tmp_path: Path) -> None:
    good = OSPREY[0] if isinstance(OSPREY, list) else OSPREY
    values, faults = read("osprey", write(tmp_path / "x", [{**good, **change}, good]))
    assert fault in faults
    assert values


def test_osprey_with_a_description_too_few(tmp_path: Path) -> None:
    box = {"bbox": [1, 2, 3, 4]}
    record: dict[str, Any] = {
        "id": 1,
        "file_name": "a.jpg",
        "annotation": [box, box],
        "description": ["A man."],
    }
    assert read("osprey", write(tmp_path / "x", [record]))[1].startswith("1 descriptions of 2 regions")


BASE = {"img_path": "a.jpg", "boxes": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({**BASE, "conversations": [{"from": "human", "value": None}]}, "text of a turn is None"),
        ({**BASE, "sentence": "at <points>", "boxes_seq": []}, "<points>"),
        ({**BASE, "sentence": "at <boxes>", "boxes_seq": [[]]}, "empty list"),
        ({"img_path": "a.jpg", "expression": None, "bbox": [1, 2, 3, 4]}, "expression is None"),
        ({"img_path": "a.jpg", "target": 3, "sentence": "x", "boxes_seq": []}, "can't be read"),
    ],
)
def test_shikra_faults(record: dict[str, Any], fault: str, tmp_path: Path) -> None:
    values, faults = read("shikra", lines(tmp_path / "x", record, SHIKRA[0]))
    assert fault in faults
    assert len(values) == 1


def test_shikra_target_null(tmp_path: Path) -> None:
    record: dict[str, Any] = {"img_path": "a.jpg", "target": None, "sentence": "x", "boxes_seq": []}
    assert len(read("shikra", lines(tmp_path / "x", record))[0]) == 1


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"caption": None}, "caption is None"), ({"ref_exps": [[0.0, 99.0, 0.0, 0.0, 1.0, 1.0, 1.0]]}, "99")],
)
def test_grit_faults(change: dict[str, Any], fault: str, tmp_path: Path) -> None:
    good: dict[str, Any] = {"key": "0", "caption": "a dog", "width": 9, "height": 9}
    good |= {"noun_chunks": [], "ref_exps": [[0.0, 5.0, 0.0, 0.0, 1.0, 1.0, 1.0]]}
    (scene,), faults = read("grit", table(tmp_path, {**good, **change}, good))
    assert fault in faults
    assert scene.image == "0.jpg"


def test_grit_key_zero_is_a_key(tmp_path: Path) -> None:
    row = {"key": 0, "caption": "a dog", "width": 9, "height": 9, "noun_chunks": "[]", "ref_exps": "[]"}
    assert read("grit", table(tmp_path, row))[0][0].image == "0.jpg"


def test_table_question_without_an_answer(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "question": "What?", "answer": answer} for answer in (None, "Dog.")]
    values, faults = read("table", table(tmp_path, *rows))
    assert len(values) == 1
    assert "answer is null" in faults


def test_table_column_that_is_not_there(tmp_path: Path) -> None:
    row = {"image": "a.jpg", "objects": {"box": [[1, 2, 3, 4]]}}
    faults = read("table", table(tmp_path, row), columns={"boxes": "objects.bbox"}, box_format="xyxy")[1]
    assert "no column 'objects.bbox'" in faults
    assert "There are: box" in faults


def test_table_class_numbers() -> None:
    assert _name(-1, ["a", "b"]) == ""
    assert _name(1.0, ["a", "b"]) == "b"
    for bad, known in ((2, ["a", "b"]), (None, ["a"]), (1.0, []), (-2, ["a", "b"])):
        with pytest.raises(RecordError, match="names has"):
            _name(bad, known)


def test_a_picture_inside_that_is_too_large_or_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 40)).save(content, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for each in (content.getvalue(), b"nothing"):
        with pytest.raises(RecordError, match="is broken"):
            size_of(each)


def test_refcoco_bad_entries(tmp_path: Path) -> None:
    refs = [
        {"ref_id": number, "ann_id": number, "image_id": number, "sentences": sentences}
        for number, sentences in ((1, ["text"]), (2, [{"sent": "the dog"}]))
    ]
    images = [{"id": 2, "width": None, "height": 9, "file_name": "b.jpg"}, {"file_name": "c.jpg"}]
    boxes = [{"id": 2, "image_id": 2, "bbox": [1, 2, 3, 4]}, {"image_id": 2, "bbox": [1, 2, 3, 4]}]
    (tmp_path / "refs.json").write_text(json.dumps(refs))
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    (scene,), faults = read("refcoco", tmp_path)
    assert scene.image == "b.jpg"
    assert scene.size_wh is None
    assert "ref_id 1: sentences" in faults
    assert "entry of images has no id" in faults
    assert "entry of annotations has no id" in faults
