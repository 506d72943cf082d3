from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mustela.data.check import CheckOptions
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.store import RecordStore, default_cache_dir, open_records
from mustela.errors import RecordError
from mustela.regions import Box


def raw(number: int, **fields: object) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "image": f"{number}.jpg",
        "image_w": 640,
        "image_h": 480,
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
            {"from": "gpt", "value": f"object {number}"},
        ],
        "box_x1y1x2y2": [[[number, 1, number + 10, 20]], []],
        **fields,
    }


def write(path: Path, *records: object) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


def opened(path: Path, cache: Path, **options: Any) -> RecordStore:
    store, _ = open_records(path, cache_dir=cache, **options)
    assert store is not None
    return store


def test_a_store_gives_the_records_of_its_file(tmp_path: Path) -> None:
    store = opened(write(tmp_path / "x.json", raw(0), raw(1), raw(2)), tmp_path / "cache")
    assert len(store) == 3
    assert store[1] == store[-2] == list(store)[1]
    assert store[1] == Record(
        "r1",
        (ImageRef("1.jpg", (640, 480)),),
        (
            Turn("user", "<image>\nWhat is <bbox_location0>?", (RegionAnnotation(Box(1, 1, 11, 20)),)),
            Turn("assistant", "object 1"),
        ),
    )
    assert store.ids == ["r0", "r1", "r2"]
    assert store.column("regions").tolist() == [1, 1, 1]
    assert store.column("images").tolist() == [1, 1, 1]
    assert store.column("characters").tolist() == [41, 41, 41]
    with pytest.raises(IndexError):
        store[3]


def test_an_empty_file_is_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]", encoding="utf-8")
    assert len(opened(path, tmp_path / "cache")) == 0


def test_the_second_opening_reads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.json", raw(0), raw(1, box_x1y1x2y2=[[[-3, 1, 9, 9]], []]))
    cache = tmp_path / "cache"
    first, first_report = open_records(path, cache_dir=cache)
    monkeypatch.setattr("mustela.data.store.check_found", None)
    again, again_report = open_records(path, cache_dir=cache)
    assert first is not None
    assert again is not None
    assert list(again) == list(first)
    assert again_report == first_report
    assert again_report.faults["box.clamped"].ids == ["r1"]


def test_content_settings_and_folder_make_another_store_and_a_name_does_not(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = write(tmp_path / "x.json", raw(0))
    store = opened(path, cache)
    (tmp_path / "flickr").mkdir()
    assert opened(write(tmp_path / "flickr" / "y.jsonl", raw(0)), cache).path == store.path
    assert opened(path, cache, options=CheckOptions(box_format="xywh")).path != store.path
    no_look = CheckOptions(images="none")
    assert opened(path, cache, options=no_look, image_folder=tmp_path).path != store.path
    write(path, raw(0), raw(1))
    assert len(opened(path, cache)) == 2


def test_bad_records_are_left_out_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", raw(0), raw(1, id="bad", box_x1y1x2y2=[[], []]), raw(2))
    store, report = open_records(path, cache_dir=tmp_path / "cache")
    assert store is not None
    assert store.ids == ["r0", "r2"]
    assert (report.read, report.kept, report.skipped, report.skipped_ids) == (3, 2, 1, ["bad"])


def test_pictures_that_were_missing_are_looked_for_again(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", raw(0))
    store, report = open_records(path, image_folder=tmp_path, cache_dir=tmp_path / "cache")
    assert store is not None
    assert len(store) == 0
    assert list(report.faults) == ["image.missing"]
    Image.new("RGB", (640, 480)).save(tmp_path / "0.jpg")
    assert len(opened(path, tmp_path / "cache", image_folder=tmp_path)) == 1


def test_an_array_that_breaks_off_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + json.dumps(raw(0)) + ", {", encoding="utf-8")
    store, report = open_records(path, cache_dir=tmp_path / "cache")
    assert store is None
    assert report.unreadable_rest
    assert list((tmp_path / "cache" / "records").iterdir()) == []


def test_fresh_checks_again_and_replaces(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", raw(0))
    store = opened(path, tmp_path / "cache")
    before = store.path.stat().st_mtime_ns
    assert len(opened(path, tmp_path / "cache", fresh=True)) == 1
    assert store.path.stat().st_mtime_ns > before
    assert len(list((tmp_path / "cache" / "records").iterdir())) == 1


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", raw(0))
    store = opened(path, tmp_path / "cache")
    store.path.write_bytes(b"broken")
    with pytest.raises(RecordError, match="not a record store"):
        RecordStore(store.path)
    assert len(opened(path, tmp_path / "cache")) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere\.json"):
        open_records(tmp_path / "nowhere.json", cache_dir=tmp_path)


def test_two_at_a_time_end_with_one_good_store(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", *map(raw, range(50)))
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda: lengths.append(len(opened(path, tmp_path / "cache"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [50] * 4
    assert len(list((tmp_path / "cache" / "records").iterdir())) == 1


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "mustela"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "mustela"


# A process of its own: what the workers of a long test session copy of its heap would drown what is measured.
WORKERS = """
import multiprocessing, pickle, sys
from mustela.data.store import RecordStore

def private():
    total, in_file = 0, False
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        for fields in map(str.split, file):
            if not fields[0].endswith(":"):  # head of a mapping: addresses, rights, offset, device, inode
                in_file = fields[4] != "0"
            elif fields[0] == "Private_Dirty:" and not in_file:
                total += int(fields[1]) * 1024
    return total

def walk(store, growth):
    for index in range(100):
        store[index]
    before = private()
    for record in store:
        record.turns
    growth.put(private() - before)

store = RecordStore(sys.argv[1])
handed_over = pickle.dumps(store)
assert len(handed_over) < 1000 and len(pickle.loads(handed_over)) == len(store)
context = multiprocessing.get_context("fork")
growth = context.Queue()
workers = [context.Process(target=walk, args=(store, growth)) for _ in range(2)]
for worker in workers:
    worker.start()
print(sum(growth.get(timeout=60) for _ in workers))
for worker in workers:
    worker.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_workers_share_the_records_and_starting_them_copies_none(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    text = "word " * 250
    with path.open("w", encoding="utf-8") as file:
        for number in range(20_000):
            entry = raw(number % 600)
            entry["conversations"][1]["value"] = f"{number} {text}"
            file.write(json.dumps(entry) + "\n")
    store = opened(path, tmp_path / "cache", options=CheckOptions(images="none"))
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, str(store.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 0.25 * store.path.stat().st_size


@pytest.mark.parametrize("name", ["shikra", "swift", "chat", "osprey"])
def test_conversations_of_other_formats_are_records(name: str, tmp_path: Path) -> None:
    from tests.data.formats.samples import SAMPLES

    source = tmp_path / "source"
    source.mkdir()
    store, report = open_records(SAMPLES[name](source), cache_dir=tmp_path / "cache")
    assert store is not None
    assert len(store) == report.kept == report.read > 0
    assert report.skipped == 0
    # From the cache, with the sentence on what it was read as.
    assert open_records(source / "x", cache_dir=tmp_path / "cache")[1].format == report.format != ""


def test_annotations_say_how_to_make_conversations_of_them(tmp_path: Path) -> None:
    from tests.data.formats.samples import SAMPLES

    with pytest.raises(RecordError, match="mustela data convert --from voc"):
        open_records(SAMPLES["voc"](tmp_path), cache_dir=tmp_path / "cache")
