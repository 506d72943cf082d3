"""Every format: recognised by its content, read to the same regions as it was written with."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.formats.samples import (
    CHAT,
    COCO,
    CONVERSATION,
    FERRET,
    LABEL_STUDIO,
    LVIS,
    OSPREY,
    REFS,
    SAMPLES,
    SHIKRA,
    SWIFT,
    VOC,
    brush,
    lines,
    picture,
    picture_bytes,
    write,
)

from mustela.data.check import check_record
from mustela.data.formats import FORMATS, Scene, Source, recognise
from mustela.data.formats.source import Found
from mustela.errors import ConfigError, MustelaError, RecordError


def read(path: Path, **options: Any) -> list[Found]:
    return list(recognise(path).format.read(Source(path, **options)))


def scenes(path: Path, **options: Any) -> list[Scene]:
    found = read(path, **options)
    assert [each.fault for each in found if each.fault] == []
    return [each.value for each in found if isinstance(each.value, Scene)]


def natives(path: Path, **options: Any) -> list[Mapping[str, Any]]:
    found = read(path, **options)
    assert [each.fault for each in found if each.fault] == []
    return [each.value for each in found if isinstance(each.value, Mapping)]


def boxes(scene: Scene) -> list[list[float]]:
    return [thing.region["xyxy"] for thing in scene.things if "xyxy" in thing.region]


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_recognised_by_content_and_says_why(name: str, tmp_path: Path) -> None:
    found = recognise(SAMPLES[name](tmp_path))
    assert found.format.name == name
    assert found.format.title in found.because
    assert found.because.endswith(".")


def test_path_decides_nothing(tmp_path: Path) -> None:
    misleading = tmp_path / "flickr_backup/llava_instruct/coco/refcoco.xml"
    plain = write(tmp_path / "a/shop.json", [FERRET])
    misleading.parent.mkdir(parents=True)
    shutil.copy(plain, misleading)
    assert recognise(misleading).format is recognise(plain).format
    assert natives(misleading) == natives(plain)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_makes_valid_records_or_scenes(name: str, tmp_path: Path) -> None:
    found = read(SAMPLES[name](tmp_path), columns={}, box_format="xywh")
    assert found
    for each in found:
        assert each.fault is None
        if not isinstance(each.value, Scene):
            assert check_record(each.value).faults == ()


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "it is empty"),
        (b"hello\n", "it is text"),
        (b"\xff\xd8\xff\x00", "unknown"),
        (b'[{"x": 1}]', "'x'"),
    ],
)
def test_unknown_content_says_what_was_seen(content: bytes, seen: str, tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_bytes(content)
    with pytest.raises(RecordError, match=seen):
        recognise(file)


def test_coco_polygons_rle_and_crowds(tmp_path: Path) -> None:
    first, second = scenes(write(tmp_path / "x", COCO))
    assert (first.image, first.size_wh, second.image) == ("a.jpg", (64, 48), "b.jpg")
    dog, crowd = first.things
    assert (dog.name, dog.crowd, crowd.name, crowd.crowd) == ("dog", False, "person", True)
    assert dog.region == {"type": "box", "xyxy": [10, 20, 40, 44], "mask": [[10, 20, 40, 20, 40, 44]]}
    assert crowd.region["mask"] == {"size": [48, 64], "counts": [0, 8, 40, 8, 3016]}


def test_overlapping_parts_of_a_coco_object_are_united(tmp_path: Path) -> None:
    parts = [[0, 0, 20, 0, 20, 20, 0, 20], [10, 10, 30, 10, 30, 30, 10, 30]]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 30], "segmentation": parts}
    (first, _) = scenes(write(tmp_path / "x", {**COCO, "annotations": [annotation]}))
    from mustela.regions import Mask

    mask = Mask.from_rle(first.things[0].region["mask"])
    assert mask.area((64, 48)) == 400 + 400 - 100


def test_lvis_says_what_is_absent(tmp_path: Path) -> None:
    (scene,) = scenes(write(tmp_path / "x", LVIS))
    assert scene.image == "train2017/000000000001.jpg"
    assert (scene.absent, scene.partial, scene.complete) == (frozenset({"cup"}), frozenset({"hat"}), False)


def test_voc_counts_from_one(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["voc"](tmp_path))
    assert boxes(scene) == [[10, 20, 40, 44]]


def test_voc_split_and_what_splits_there_are(tmp_path: Path) -> None:
    write(tmp_path / "Annotations/a.xml", VOC)
    write(tmp_path / "Annotations/b.xml", VOC.replace("a.jpg", "b.jpg"))
    write(tmp_path / "ImageSets/Main/val.txt", "b 1\n")
    assert [scene.image for scene in scenes(tmp_path, split="val")] == ["b.jpg"]
    with pytest.raises(RecordError, match=r"no file test\.txt .* val"):
        scenes(tmp_path, split="test")


@pytest.mark.parametrize(
    "declaration", ['<!DOCTYPE a [<!ENTITY b "c">]>', '<!-- x --><!DOCTYPE a SYSTEM "file:///etc/passwd">']
)
def test_xml_with_a_document_type_is_refused(declaration: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.xml", f'<?xml version="1.0"?>{declaration}{VOC}')
    with pytest.raises(RecordError, match="document type"):
        recognise(file)


def test_broken_xml_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", VOC)
    write(tmp_path / "b.xml", VOC[:-20])
    found = read(tmp_path)
    assert isinstance(found[0].value, Scene)
    assert "b.xml: not XML" in str(found[1].fault)


def test_yolo_boxes_and_outlines(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["yolo"](tmp_path))
    assert (scene.image, [thing.name for thing in scene.things]) == ("images/train/a.jpg", ["dog", "cat"])
    np.testing.assert_allclose(boxes(scene), [[16, 18, 48, 30], [6.4, 4.8, 32, 24]])
    np.testing.assert_allclose(scene.things[1].region["mask"], [[6.4, 4.8, 32, 4.8, 32, 24]])


def test_yolo_pixels_in_the_place_of_shares_are_a_fault(tmp_path: Path) -> None:
    folder = SAMPLES["yolo"](tmp_path)
    write(folder / "labels/train/a.txt", "0 320 240 100 50\n")
    found = read(folder)
    assert "no shares" in str(found[0].fault)


def test_labelme_shapes(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["labelme"](tmp_path))
    dog, cat, eye, path, ball = (thing.region for thing in scene.things)
    assert scene.image == "images/a.jpg"
    assert dog["mask"] == [[10, 20, 40, 20, 40, 44]]
    assert cat["xyxy"] == [10, 5, 30, 30]
    assert eye == {"type": "point", "xy": [12, 13]}
    assert path["points"] == [[1, 2], [10, 12], [20, 12]]
    np.testing.assert_allclose(ball["xyxy"], [25, 15, 35, 25])


def test_cvat_shapes(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["cvat"](tmp_path))
    dog, cat, eye, sky = scene.things
    assert (dog.region["xyxy"], dog.attributes) == ([10, 20, 40, 44], ("red",))
    assert cat.region["mask"] == [[10, 10, 50, 10, 50, 40]]
    assert eye.region == {"type": "point", "xy": [5, 6]}
    from mustela.regions import Mask

    pixels = Mask.from_rle(sky.region["mask"]).raster((64, 48))
    assert np.argwhere(pixels).tolist() == [[3, 4], [3, 5]]


def test_label_studio_shapes(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["label_studio"](tmp_path))
    assert (scene.image, scene.size_wh) == ("a b.jpg", (64, 48))
    dog, cat, turned = boxes(scene)
    np.testing.assert_allclose(dog, [16, 24, 48, 36])
    np.testing.assert_allclose(cat, [0, 0, 32, 24])
    # Turned clockwise by a quarter round its upper left corner: to the left of it, below it.
    np.testing.assert_allclose(turned, [32 - 12, 24, 32, 24 + 16])


def test_label_studio_brush(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), dtype=bool)
    mask[5:9, 7:20] = True
    result = {"type": "brushlabels", "original_width": 64, "original_height": 48,
              "value": {"format": "rle", "rle": brush(mask), "brushlabels": ["sky"]}}  # fmt: skip
    task = {**LABEL_STUDIO[0], "annotations": [{"result": [result]}]}
    (scene,) = scenes(write(tmp_path / "x", [task]))
    assert boxes(scene) == [[7, 5, 20, 9]]


@pytest.mark.parametrize("as_json", [False, True])
def test_refcoco_splits(as_json: bool, tmp_path: Path) -> None:
    folder = SAMPLES["refcoco"](tmp_path)
    if as_json:
        (folder / "refs(unc).p").unlink()
        write(folder / "refs.json", REFS)
    (scene,) = scenes(folder, split="train")
    assert scene.image == "a.jpg"
    assert boxes(scene) == [[10, 20, 40, 44]]
    assert scene.things[0].phrases == ("the left dog", "brown dog")
    assert [each.image for each in scenes(folder, split="testA")] == ["b.jpg"]
    with pytest.raises(RecordError, match=r"no split 'val'\. It has: testA, train"):
        scenes(folder, split="val")


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_names_code_is_refused(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = SAMPLES["refcoco"](tmp_path)
    (folder / "refs(unc).p").write_bytes(pickle.dumps([Harmful()], protocol=protocol))
    with pytest.raises(RecordError, match=r"names \w+.system.*refused"):
        scenes(folder)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("content", [b"\x80\x02.", b"(lp0\n", b"\x80\x04\x95\xff", b"\x80\x02}q\x00U\xffab."])
def test_broken_pickle_is_one_error(content: bytes, tmp_path: Path) -> None:
    folder = SAMPLES["refcoco"](tmp_path)
    (folder / "refs(unc).p").write_bytes(content)
    with pytest.raises(RecordError, match=r"pickle|list"):
        scenes(folder)


def test_visual_genome_puts_its_files_together(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["visual_genome"](tmp_path))
    clock, wall, region = scene.things
    assert (scene.image, scene.size_wh) == ("VG_100K_2/1.jpg", (64, 48))
    assert (clock.name, clock.attributes, wall.name) == ("clock", ("green", "tall"), "wall")
    assert region.phrases == ("a green clock",)
    (relation,) = scene.relations
    assert (relation.subject, relation.predicate, relation.object) == (0, "on", 1)


def test_flickr_phrases_and_boxes(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["flickr30k"](tmp_path))
    first, second = scene.captions
    assert first.text == (
        "Two young guys <bbox_location0> <bbox_location1> with shaggy hair <bbox_location2> look up."
    )
    assert [region["xyxy"] for region in first.regions] == [[0, 0, 20, 30], [30, 0, 60, 30], [0, 0, 9, 9]]
    assert (second.text, second.regions) == ("A plain one.", ())
    # Two boxes: the phrase alone doesn't say which.
    assert [thing.phrases for thing in scene.things] == [("shaggy hair",)]


def test_osprey_regions_are_numbered_by_turn(tmp_path: Path) -> None:
    talk, description = natives(write(tmp_path / "x", OSPREY))
    assert talk["conversations"][0]["value"] == "<image>\nWhat is <bbox_location0> doing to <bbox_location1>?"
    assert [region["xyxy"] for region in talk["regions"][0]] == [[0, 0, 8, 8], [10, 20, 40, 44]]
    assert [turn["value"] for turn in description["conversations"]] == [
        "<image>\nDescribe <bbox_location0> in detail.",
        "A man in a blue shirt.",
    ]


def test_shikra_kinds(tmp_path: Path) -> None:
    talk, place, thought, sentence = natives(lines(tmp_path / "x", *SHIKRA))
    assert talk["conversations"][1]["value"] == "Yes, both <bbox_location0>, <bbox_location1>."
    assert talk["box_x1y1x2y2"] == [[[10, 20, 40, 44], [0, 0, 8, 8]]] * 2
    assert place["conversations"][0]["value"] == "<image>\nWhere is the left dog?"
    assert thought["conversations"][1]["value"] == "It <bbox_location0> is a dog."
    assert sentence["conversations"][1]["value"] == "A dog <bbox_location0> runs."


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"question_boxes_seq": []}, "boxes_seq has 0 entries"), ({"question_boxes_seq": [[3]]}, "names box 3")],
)
def test_shikra_counts_that_differ_are_a_fault(change: dict[str, Any], fault: str, tmp_path: Path) -> None:
    (found,) = read(lines(tmp_path / "x", {**SHIKRA[2], **change}))
    assert fault in str(found.fault)


def test_swift_fills_in_objects(tmp_path: Path) -> None:
    (native,) = natives(lines(tmp_path / "x", SWIFT))
    assert [turn["value"] for turn in native["conversations"]] == [
        "<image>Find a dog.",
        "A dog is at <bbox_location0> and at <bbox_location1>.",
    ]
    assert [region["xyxy"] for region in native["regions"][1]] == [[10, 20, 40, 44], [0, 0, 8, 8]]


def test_swift_normalised_boxes_need_the_picture(tmp_path: Path) -> None:
    objects = {**SWIFT["objects"], "bbox": [[0.25, 0.5, 0.5, 1], [0.5, 0.5]], "bbox_type": "norm1"}
    file = lines(tmp_path / "x", {**SWIFT, "objects": objects})
    (found,) = read(file)
    assert "Give the folder of the pictures" in str(found.fault)
    picture(tmp_path / "images/a.jpg")
    (native,) = natives(file, images=tmp_path / "images")
    assert native["regions"][1] == [
        {"type": "box", "xyxy": [16, 24, 32, 48]},
        {"type": "point", "xy": [32, 24]},
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"bbox": [[0, 0, 8, 8]]}, "2 <bbox> in the texts, 1 entries of 'bbox'"),
        ({"bbox": [[0, 0, 8, 8]] * 3}, "2 <bbox> in the texts, 3 entries of 'bbox'"),
        ({"ref": ["a dog"]}, "2 <ref-object> in the texts, 1 entries of 'ref'"),
        ({"ref": ["a"] * 3}, "2 <ref-object> in the texts, 3 entries of 'ref'"),
        ({"bbox": [[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]]}, "'bbox_type': 'norm1'"),
        ({"bbox": [10, 20, 40, 44]}, "0 is the number 10; give a list of boxes"),
        ({"bbox": [[1, 2, 3], [1, 2, 3, 4]]}, "0 is [1, 2, 3]; give [x1, y1, x2, y2]"),
        ({"bbox": [["0.1", 2, 3, 4], [1, 2, 3, 4]], "bbox_type": "norm1"}, "give numbers"),
        ({"bbox_type": "norm1000"}, "known: real, norm1"),
        ({"image_id": [0, 1]}, "image_id: 1, but there are 1 images"),
        ({"image_id": [0, -1]}, "image_id: -1"),
        ({"image_id": [0]}, "2 boxes but 1 entries of image_id"),
        ({"image_id": 1}, "image_id: 1; give a list"),
    ],
)
def test_swift_objects_that_do_not_fit_are_a_fault(
    change: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    (found,) = read(lines(tmp_path / "x", {**SWIFT, "objects": {**SWIFT["objects"], **change}}))
    assert fault in str(found.fault)


def test_swift_objects_may_be_a_text_of_json(tmp_path: Path) -> None:
    plain = {"messages": SWIFT["messages"][:1]}
    file = lines(tmp_path / "x", {**plain, "objects": {}}, {**SWIFT, "objects": json.dumps(SWIFT["objects"])})
    assert recognise(file).format.name == "swift"
    assert natives(lines(tmp_path / "x", {**SWIFT, "objects": json.dumps(SWIFT["objects"])})) == natives(
        lines(tmp_path / "y", SWIFT)
    )


QUESTION, ANSWER = {"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A dog."}


@pytest.mark.parametrize("given", [{"images": "a.jpg"}, {"image": "a.jpg"}, {"images": ["a.jpg"]}], ids=str)
def test_chat_listed_picture_stands_before_the_first_question(given: Any, tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    (native,) = natives(lines(tmp_path / "x", {"messages": [system, QUESTION, ANSWER], **given}))
    assert native["image"] == ["a.jpg"]
    assert [turn["value"] for turn in native["conversations"]] == [
        "Be brief.",
        "<image>\nWhat is it?",
        "A dog.",
    ]
    assert check_record(native).faults == ()


def test_chat_fewer_places_than_pictures_are_a_fault(tmp_path: Path) -> None:
    question = {**QUESTION, "content": "<image>What is it?"}
    (native,) = natives(lines(tmp_path / "x", {"messages": [question, ANSWER], "images": ["a.jpg", "b.jpg"]}))
    (fault,) = check_record(native).faults
    assert fault.kind == "image.count"
    assert "1 <image> found in the human turns, 2 images given" in str(fault)


def test_chat_picture_that_is_named_and_listed_is_one(tmp_path: Path) -> None:
    question = {
        **QUESTION,
        "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "What?"}],
    }
    (native,) = natives(lines(tmp_path / "x", {"messages": [question, ANSWER], "images": ["a.jpg"]}))
    assert native["image"] == ["a.jpg"]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"role": "assistant", "content": None}, "turn 1, content: None; give a text"),
        (
            {"role": "assistant", "content": [{"type": "text", "text": None}]},
            "turn 1, content: a part of the",
        ),
        ({"role": "assistant", "content": ["x"]}, "turn 1, content: the part 'x' is no object"),
        ({"role": "assistant", "content": [{"text": "x"}]}, "unknown type None"),
        ("x", "turn 1 is 'x'; give an object"),
        ({**ANSWER, "loss": False}, "turn 1, loss: False, but every answer of a record is learnt"),
    ],
)
def test_chat_messages_that_can_not_be_read_say_why(message: Any, fault: str, tmp_path: Path) -> None:
    (found,) = read(lines(tmp_path / "x", {"messages": [QUESTION, message]}))
    assert fault in str(found.fault)


def test_chat_answers_marked_as_learnt_are_read(tmp_path: Path) -> None:
    messages = [{**QUESTION, "loss": False}, {**ANSWER, "loss": True}]
    assert natives(lines(tmp_path / "x", {"messages": messages}))


def test_chat_parts(tmp_path: Path) -> None:
    (native,) = natives(lines(tmp_path / "x", CHAT))
    assert native["image"] == ["a.jpg"]
    assert [turn["value"] for turn in native["conversations"]] == [
        "Be brief.",
        "<image>\nWhat is <bbox_location0>?",
        "A dog.",
    ]


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///a%20b.jpg", "/a b.jpg"), ("a.jpg", "a.jpg")],
)
def test_chat_image_addresses(url: str, path: str, tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    messages = [{"role": "user", "content": [part]}, {"role": "assistant", "content": "x"}]
    (native,) = natives(lines(tmp_path / "x", {"messages": messages}))
    assert native["image"] == [path]


def test_chat_picture_inside_and_address_that_is_not_fetched(tmp_path: Path) -> None:
    import base64

    inside = "data:image/jpeg;base64," + base64.b64encode(picture_bytes()).decode()
    for url, fault in ((inside, None), ("https://x.org/a.jpg", "none is fetched")):
        part = {"type": "image_url", "image_url": {"url": url}}
        messages = [{"role": "user", "content": [part]}, {"role": "assistant", "content": "x"}]
        (found,) = read(lines(tmp_path / "x", {"messages": messages}))
        if fault:
            assert fault in str(found.fault)
        else:
            assert list(found.pictures.values()) == [picture_bytes()]
            assert isinstance(found.value, Mapping)
            assert list(found.pictures) == found.value["image"]


def test_grit_takes_expressions_before_noun_chunks(tmp_path: Path) -> None:
    (scene,) = scenes(SAMPLES["grit"](tmp_path))
    assert scene.captions[0].text == "A dog <bbox_location0> and a cat."
    assert scene.captions[0].regions[0]["xyxy"] == [16, 24, 48, 48]
    assert (scene.image, scene.things[0].phrases) == ("000001.jpg", ("A dog",))


def test_table_with_a_column_map(tmp_path: Path) -> None:
    folder = SAMPLES["table"](tmp_path)
    columns = {"boxes": "objects.bbox", "names": "objects.category"}
    (found,) = read(folder, columns=columns, box_format="xywh")
    assert isinstance(found.value, Scene)
    assert [(thing.name, thing.region["xyxy"]) for thing in found.value.things] == [("dog", [10, 20, 40, 44])]
    assert list(found.pictures.values()) == [picture_bytes()]
    assert found.value.captions[0].text == "A dog."


def test_table_boxes_are_never_converted_on_a_guess(tmp_path: Path) -> None:
    (found,) = read(SAMPLES["table"](tmp_path), columns={"boxes": "objects.bbox"})
    assert "--box_format" in str(found.fault)


def test_table_with_an_unknown_column(tmp_path: Path) -> None:
    folder = SAMPLES["table"](tmp_path)
    with pytest.raises(ConfigError, match=r"no column 'bbox' for boxes\. It has: image, objects, caption"):
        read(folder, columns={"boxes": "bbox"})
    with pytest.raises(ConfigError, match="unknown box"):
        read(folder, columns={"box": "objects.bbox"})


def test_folder_of_a_saved_data_set(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = {"image": ["a.jpg"], "question": ["What?"], "answer": ["A dog."]}
    Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    (native,) = natives(tmp_path / "set")
    assert native["conversations"][0]["value"] == "<image>\nWhat?"


def test_webdataset_conversations_and_captions(tmp_path: Path) -> None:
    talk, caption = read(SAMPLES["webdataset"](tmp_path))
    assert isinstance(talk.value, Mapping)
    assert isinstance(caption.value, Scene)
    assert talk.value["conversations"] == CONVERSATION
    assert caption.value.captions[0].text == "A green field."
    assert list(talk.pictures) == [talk.value["image"]]
    assert re.fullmatch(r"000001-\w{8}\.jpg", talk.value["image"])


def test_webdataset_cut_off_is_a_fault(tmp_path: Path) -> None:
    file = SAMPLES["webdataset"](tmp_path)
    file.write_bytes(file.read_bytes()[:700])
    *_, last = FORMATS["webdataset"].read(Source(file))
    assert last.last
    assert "cut off" in str(last.fault)


@pytest.mark.parametrize("name", ["osprey", "shikra", "swift", "chat", "label_studio"])
def test_a_record_of_the_wrong_type_is_a_fault_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    file = SAMPLES[name](tmp_path)
    text = file.read_text(encoding="utf-8")
    values = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    write(tmp_path / "y", [*values, {"id": 5}, 7])
    found = list(FORMATS[name].read(Source(tmp_path / "y")))
    assert sum(each.fault is None for each in found) == sum(each.fault is None for each in read(file))
    assert [each.fault is not None for each in found[-2:]] == [True, True]


@pytest.mark.parametrize("name", FORMATS)
def test_files_cut_anywhere_end_in_faults_or_one_error(name: str, tmp_path: Path) -> None:
    target = SAMPLES[name](tmp_path)
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        whole = file.read_bytes()
        for share in (0.02, 0.3, 0.6, 0.9, 0.99):
            file.write_bytes(whole[: int(len(whole) * share)])
            with contextlib.suppress(MustelaError):
                list(FORMATS[name].read(Source(target)))
        file.write_bytes(whole)


def test_documentation_has_every_format() -> None:
    page = (Path(__file__).parents[3] / "docs/formats.md").read_text(encoding="utf-8")
    assert {name for name in FORMATS if f"(`{name}`)" not in page} == set()
