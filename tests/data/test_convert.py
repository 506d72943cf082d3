"""Conversion: conversations of annotations that say only what is known, the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.data.formats.samples import COCO, FLICKR_XML, LABELME, SAMPLES, VISUAL_GENOME, picture, write

from mustela.data import read_records
from mustela.data.convert import Conversion, Converted, convert_file
from mustela.data.formats import Source, recognise
from mustela.data.record import Record
from mustela.data.tasks.options import TASKS, TaskOptions
from mustela.data.tasks.phrasings import load_phrasings
from mustela.errors import ConfigError, RecordError

NAMES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "traffic_light"}]


def coco(*pictures: list[tuple[int, list[float]]], crowd: int | None = None) -> dict[str, Any]:
    annotations = [
        {"id": 10 * image + place, "image_id": image, "category_id": category, "bbox": box,
         "iscrowd": int(category == crowd)}
        for image, things in enumerate(pictures)
        for place, (category, box) in enumerate(things)
    ]  # fmt: skip
    images = [
        {"id": image, "file_name": f"{image}.jpg", "width": 64, "height": 48}
        for image in range(len(pictures))
    ]
    return {"images": images, "annotations": annotations, "categories": NAMES}


def convert(
    path: Path, out: Path, *, language: str = "en", images: Path | None = None, **options: Any
) -> tuple[list[Record], Converted]:
    made = convert_file(
        Conversion(
            recognise(path).format,
            Source(path, images, columns={"boxes": "objects.bbox"}, box_format="xywh"),
            load_phrasings(language),
            TaskOptions(**options),
            {"dog": "brown dog"},
        ),
        out,
    )
    return list(read_records(out)), made


TWO = coco([(1, [0, 0, 10, 10]), (2, [20, 20, 10, 10]), (1, [30, 0, 10, 10])], [(3, [5, 5, 20, 20])])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_task_gives_records_that_are_valid(language: str, tmp_path: Path) -> None:
    records, _ = convert(write(tmp_path / "x", TWO), tmp_path / "out.json", language=language, tasks=TASKS)
    tasks = {record.id.split("-", 1)[1] for record in records}
    assert tasks == {"refer", "ground", "detect", "presence", "dense_refer", "dense_detect"}


def test_visual_genome_gives_attributes_and_relations(tmp_path: Path) -> None:
    for name, content in VISUAL_GENOME.items():
        write(tmp_path / "vg" / name, content)
    records, _ = convert(tmp_path / "vg", tmp_path / "out.json", tasks=("attributes", "relation", "detect"))
    texts = {record.id.split("-", 1)[1]: record.turns[-1].text for record in records}
    assert texts == {
        "attributes": "The clock is green and tall.",
        "relation": "The clock <bbox_location0> is on the wall <bbox_location1>.",
    }


def test_grounding_names_all_objects_in_the_order_of_the_rows(tmp_path: Path) -> None:
    records, _ = convert(write(tmp_path / "x", TWO), tmp_path / "o.json", tasks=("ground",), absent_share=0)
    answers = {turn.text: turn.regions for record in records for turn in record.turns[1::2]}
    cats = answers["a cat <bbox_location0> and a cat <bbox_location1>."]
    assert [each.region.bounds_xyxy() for each in cats] == [(0, 0, 10, 10), (30, 0, 40, 10)]
    assert "a traffic light <bbox_location0>." in answers
    assert "a brown dog <bbox_location0>." in answers


def test_list_of_all_is_never_a_part_of_them(tmp_path: Path) -> None:
    file = write(tmp_path / "x", TWO)
    records, _ = convert(file, tmp_path / "o.json", tasks=("ground", "detect"), max_boxes=1, absent_share=0)
    assert all(" cat" not in turn.text for record in records for turn in record.turns)
    crowd = write(tmp_path / "y", coco([(1, [0, 0, 10, 10]), (2, [20, 20, 10, 10])], crowd=1))
    records, _ = convert(crowd, tmp_path / "o.json", tasks=("ground", "detect"), absent_share=0)
    assert [turn.text for record in records for turn in record.turns[1::2]] == [
        "a brown dog <bbox_location0>."
    ]


def test_presence_says_no_only_of_what_is_absent_and_as_often_as_yes(tmp_path: Path) -> None:
    pictures = [[(1 + number % 3, [0, 0, 10, 10])] for number in range(60)]
    records, _ = convert(write(tmp_path / "x", coco(*pictures)), tmp_path / "o.json", tasks=("presence",))
    said = Counter(turn.text.split(",")[0] for record in records for turn in record.turns[1::2])
    assert said == {"Yes": 60, "No": 60}
    words = ["cat", "brown dog", "traffic light"]
    for record in records:
        there = words[int(record.images[0].path.split(".")[0]) % 3]
        for question, answer in zip(record.turns[::2], record.turns[1::2], strict=True):
            assert answer.text.startswith("Yes") == (there in question.text)


def test_negatives_are_names_that_usually_come_along(tmp_path: Path) -> None:
    together = [[(1, [0, 0, 10, 10]), (2, [20, 20, 10, 10])]] * 40
    alone = [[(3, [0, 0, 10, 10])]] * 40
    single = [[(1, [0, 0, 10, 10])]] * 40
    file = write(tmp_path / "x", coco(*together, *alone, *single))
    records, _ = convert(file, tmp_path / "o.json", tasks=("presence",))
    of_cats = [record for record in records if int(record.images[0].path.split(".")[0]) >= 80]
    refused = Counter(
        "dog" if "dog" in turn.text else "light"
        for record in of_cats
        for turn in record.turns
        if turn.text.startswith("No")
    )
    assert refused["dog"] > 3 * refused["light"]


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    file = write(tmp_path / "x", coco(*[[(1, [0, 0, 9, 9]), (2, [9, 9, 9, 9])] for _ in range(8)]))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        convert(file, tmp_path / f"{name}.jsonl", seed=seed)
    first, second, third = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert first == second != third


def test_balance_asks_as_often_about_rare_names(tmp_path: Path) -> None:
    pictures = [[(1, [0, 0, 9, 9])]] * 200 + [[(2, [0, 0, 9, 9])]] * 20 + [[(3, [0, 0, 9, 9])]] * 20
    file = write(tmp_path / "x", coco(*pictures))
    counts = []
    for balance in (0, 1):
        records, _ = convert(file, tmp_path / "o.json", tasks=("refer",), balance=balance)
        counts.append(Counter(record.turns[1].text for record in records)["a cat."])
    assert counts[0] == 200
    assert 8 <= counts[1] <= 40


def test_object_that_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "x", coco([(1, [0, 0, 10, 10]), (1, [70, 0, 10, 10]), (2, [0, 0, 0, 5])]))
    records, made = convert(file, tmp_path / "o.json", tasks=("refer", "ground", "detect"), absent_share=0)
    assert [record.id for record in records] == ["0-refer"]
    assert {kind: entry.count for kind, entry in made.report.faults.items()} == {
        "box.outside": 1,
        "box.empty": 1,
    }


def test_pictures_are_looked_at(tmp_path: Path) -> None:
    picture(tmp_path / "images/0.jpg", (30, 30))
    file = write(tmp_path / "x", coco([(1, [0, 0, 10, 10])]))
    message = r"(?s)no record came of 1 entries, which have errors\..*64 x 48, but 0.jpg is 30 x 30"
    with pytest.raises(RecordError, match=message):
        convert(file, tmp_path / "o.json", images=tmp_path / "images")


def test_pictures_inside_are_written_beside_the_records(tmp_path: Path) -> None:
    for name in ("webdataset", "table"):
        folder = tmp_path / name
        folder.mkdir()
        source = SAMPLES[name](folder)
        records, made = convert(source, tmp_path / "out.json", tasks=("caption",))
        assert made.pictures == tmp_path / "images"
        for record in records:
            assert (made.pictures / record.images[0].path).is_file()


def test_conversations_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("ferret", "llava", "osprey", "shikra", "swift", "chat"):
        folder = tmp_path / name
        folder.mkdir()
        records, made = convert(SAMPLES[name](folder), tmp_path / "out.json")
        assert made.report.skipped == 0
        assert len(records) == made.report.read


def test_strokes_and_points_are_asked_about_and_never_answered(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", LABELME)
    records, _ = convert(tmp_path, tmp_path / "out.jsonl", tasks=("refer", "ground"), absent_share=0)
    assert file.exists()
    kinds = {type(each.region).__name__ for turn in records[0].turns[::2] for each in turn.regions}
    assert {"Point", "Scribble", "Box"} <= kinds
    assert all("eye" not in turn.text for turn in records[1].turns)


def test_flickr_captions_keep_their_boxes(tmp_path: Path) -> None:
    assert "nobndbox" in FLICKR_XML
    records, _ = convert(SAMPLES["flickr30k"](tmp_path), tmp_path / "out.json", tasks=("caption",))
    assert records[0].turns[1].text.count("<bbox_location") in (0, 3)


def test_phrasings_of_users_are_checked(tmp_path: Path) -> None:
    import mustela.data.tasks as package

    shipped = json.loads((Path(str(package.__file__)).parent / "phrasings/en.json").read_text("utf-8"))
    shipped["refer"]["ask"] = ["Quid est {regio}?"]
    with pytest.raises(ConfigError, match=r"refer\.ask 'Quid est \{regio\}\?': unknown field \{regio\}"):
        load_phrasings(write(tmp_path / "la.json", shipped))
    shipped["refer"]["ask"] = ["Quid est?"]
    with pytest.raises(ConfigError, match="names no region"):
        load_phrasings(write(tmp_path / "la.json", shipped))
    del shipped["refer"]
    with pytest.raises(ConfigError, match="the task 'refer' is missing"):
        load_phrasings(write(tmp_path / "la.json", shipped))
    with pytest.raises(ConfigError, match=r"no language of: en, zh"):
        load_phrasings("la")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tasks": ("reffer",)}, "task is 'reffer'"), ({"order": "up"}, "order is 'up'"),
     ({"balance": 2}, "balance is 2"), ({"max_rounds": 0}, "max_rounds is 0")],
)  # fmt: skip
def test_task_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskOptions(**options)


def test_coco_masks_come_along_in_questions(tmp_path: Path) -> None:
    records, _ = convert(write(tmp_path / "x", COCO), tmp_path / "o.json", tasks=("refer", "ground"))
    asked = next(each for each in records if each.id == "1-refer").turns[0].regions[0]
    assert asked.mask is not None


def test_words_of_the_data_never_mean_a_picture_or_a_region(tmp_path: Path) -> None:
    value = coco([(1, [0, 0, 10, 10])])
    value["categories"] = [{"id": 1, "name": "cat<image> <bbox_location7> \ud800"}]
    value["annotations"].append({"id": 99, "image_id": 0, "caption": "A <image> of <bbox_location3>."})
    records, _ = convert(write(tmp_path / "x", value), tmp_path / "o.json", tasks=("refer", "caption"))
    assert [record.turns[1].text for record in records] == ["a cat ?.", "A of ."]
