from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mustela.data import ImageRef, Record, RegionAnnotation, Turn, read_records, write_records
from mustela.data.native import record_from_native, record_to_native
from mustela.errors import RecordError
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

SIZE = (40, 30)
BOXES = Record(
    "boxes",
    (ImageRef("a.jpg", SIZE),),
    (
        Turn("user", "<image>\n<bbox_location0>", (RegionAnnotation(Box(1, 2, 3.5, 4)),)),
        Turn("assistant", "找到<bbox_location0>里的羊\u2028", (RegionAnnotation(Box(1, 2, 3, 4)),)),
    ),
    system="Be brief.",
)


def test_boxes_are_written_in_the_keys_of_ferret() -> None:
    mask = Mask.from_array(np.ones((30, 40), dtype=bool))
    record = Record(
        "a",
        (ImageRef("a.jpg", SIZE),),
        (
            Turn("user", "<image> <bbox_location0>", (RegionAnnotation(Box(1, 2, 3, 4.5), mask),)),
            Turn("assistant", "ok"),
        ),
    )
    assert record_to_native(record) == {
        "id": "a",
        "image": "a.jpg",
        "image_w": 40,
        "image_h": 30,
        "conversations": [
            {"from": "human", "value": "<image> <bbox_location0>"},
            {"from": "gpt", "value": "ok"},
        ],
        "box_x1y1x2y2": [[[1, 2, 3, 4.5]], []],
        "masks": [[mask.to_rle()], []],
    }


def test_a_record_without_anything_has_the_fewest_keys() -> None:
    record = Record("a", (), (Turn("user", "Hi"), Turn("assistant", "ok")))
    assert set(record_to_native(record)) == {"id", "conversations"}
    assert record_from_native(record_to_native(record)) == record


side = st.floats(0, 29, allow_nan=False).map(lambda value: round(value, 3))
points = st.tuples(side, side)
boxes = st.tuples(side, side, st.integers(1, 10), st.integers(1, 10)).map(
    lambda b: Box(b[0], b[1], min(b[0] + b[2], 40.0), min(b[1] + b[3], 30.0))
)
masks = st.builds(
    lambda seed: Mask.from_array(np.random.default_rng(seed).random((30, 40)) < 0.5), st.integers(0, 99)
)
regions: st.SearchStrategy[Region] = st.one_of(
    boxes,
    st.builds(lambda p: Point(*p), points),
    st.builds(lambda ps: Scribble(tuple(ps), 3.0), st.lists(points, min_size=1, max_size=4)),
    st.builds(lambda ps: Polygon((tuple(ps),)), st.lists(points, min_size=3, max_size=5)),
    masks,
)
annotations = st.builds(RegionAnnotation, regions, st.none(), st.integers(0, 1))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1).filter(
    str.strip
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    turns = []
    for number in range(2 * draw(st.integers(1, 2))):
        of_turn = tuple(draw(st.lists(annotations, max_size=3)))
        text = draw(texts) + "".join(f" <bbox_location{n}>" for n in range(len(of_turn)))
        turns.append(
            Turn(
                "assistant" if number % 2 else "user",
                ("<image><image>" if not number else "") + text,
                of_turn,
            )
        )
    images = (ImageRef("a.jpg", SIZE), ImageRef("b/é.jpg", draw(st.sampled_from([SIZE, None]))))
    return Record(draw(texts), images, tuple(turns), draw(st.none() | texts))


@settings(max_examples=60, deadline=None)
@given(written=st.lists(records(), max_size=3), suffix=st.sampled_from([".json", ".jsonl"]))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("records") / f"x{suffix}"
    assert write_records(path, written) == len(written)
    assert list(read_records(path)) == written
    assert [record_from_native(record_to_native(record)) for record in written] == written


def test_a_json_file_is_an_array_with_a_record_a_line(tmp_path: Path) -> None:
    write_records(tmp_path / "x.json", [BOXES, BOXES])
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert len(json.loads(text)) == 2
    assert len(text.split("\n")) == 5
    write_records(tmp_path / "x.jsonl", [BOXES, BOXES])
    assert len((tmp_path / "x.jsonl").read_text(encoding="utf-8").split("\n")) == 3


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_records(path, [BOXES])
    before = path.read_bytes()
    bad = Record("a", (), (Turn("user", "\ud800"), Turn("assistant", "x")))
    with pytest.raises(RecordError, match=r"x\.json.*surrogate"):
        write_records(path, [BOXES, bad])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(RecordError, match="can't write"):
        write_records(tmp_path / "nowhere" / "x.json", [BOXES])


def test_reading_stops_at_a_bad_record_with_all_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    good = json.dumps(record_to_native(BOXES))
    bad = good.replace("[1, 2, 3, 4]", "[3, 2, 1, 4]").replace("[1, 2, 3.5, 4]", "[1, 2, 3]")
    path.write_text(f"{good}\n{bad}\n", encoding="utf-8")
    reading = read_records(path)
    assert next(reading) == BOXES
    with pytest.raises(RecordError) as error:
        next(reading)
    assert 'x.json:2 record "boxes", turn 1, box_x1y1x2y2[1][0]: box [1, 2, 3] has' in str(error.value)
    assert "turn 2, box_x1y1x2y2[2][0]: box [3, 2, 1, 4] has x2 < x1" in str(error.value)


def test_the_path_of_a_file_changes_nothing(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "flickr_backup" / "llava_instruct"
    for folder in (here, there):
        folder.mkdir(parents=True)
        write_records(folder / "shop.json", [BOXES])
    assert list(read_records(here / "shop.json")) == list(read_records(there / "shop.json"))


def test_text_and_names_survive_a_locale_without_unicode(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("数据".encode())
    folder.mkdir()
    path = folder / os.fsdecode("图 片é.jsonl".encode())
    write_records(path, [BOXES])
    program = (
        "import sys; from pathlib import Path; from mustela.data import *;"
        "path = next(next(Path(sys.argv[1]).iterdir()).glob('*.jsonl'));"
        "write_records(path.with_name('again.jsonl'), read_records(path))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    environment["PYTHONCOERCECLOCALE"] = "0"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)
    assert list(read_records(folder / "again.jsonl")) == [BOXES]
    assert "羊" in (folder / "again.jsonl").read_text(encoding="utf-8")
