"""Streams: each record once an epoch, whatever the processes and workers, also from the middle on."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.formats.samples import SAMPLES
from torch.utils.data import DataLoader

from mustela.data import stream as module
from mustela.data.dataset import RecordDataset
from mustela.data.making import SampleMaker
from mustela.data.native import write_records
from mustela.data.reading import read_records
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import RenderOptions
from mustela.data.stream import RecordStream
from mustela.errors import ConfigError, ImageError, RecordError
from mustela.regions import Box


def record(number: int, image: str = "a.png") -> Record:
    region = RegionAnnotation(Box(5, 5, 45 - number % 20, 35))
    turns = (Turn("user", "<image>\nWhat is <bbox_location0>?", (region,)), Turn("assistant", f"a {number}"))
    return Record(f"r{number}", (ImageRef(image, (64, 48)),), turns)


@pytest.fixture
def maker(processor) -> SampleMaker:
    return SampleMaker(processor, RenderOptions(), 3)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    paths = [tmp_path / "first.json", tmp_path / "second.jsonl"]
    write_records(paths[0], [record(number) for number in range(8)])
    write_records(paths[1], [record(number) for number in range(8, 13)])
    return paths


def positions(samples) -> list[int]:
    return [int(sample["record"][0]) for sample in samples]


def in_worker(monkeypatch, stream: RecordStream, worker: int, workers: int) -> list[dict[str, torch.Tensor]]:
    info = type("Info", (), {"id": worker, "num_workers": workers})()
    monkeypatch.setattr(module, "get_worker_info", lambda: info)
    found = list(stream)
    monkeypatch.undo()
    return found


def test_a_stream_gives_the_samples_of_a_data_set(files, maker, processor) -> None:
    stream = RecordStream(files, maker)
    assert [sentence.split(" is read as ")[1].split(":")[0] for sentence in stream.reading] == [
        "Ferret JSON",
        "Ferret JSON",
    ]
    stream.set_epoch(2)
    records = [each for path in files for each in read_records(path)]
    dataset = RecordDataset(
        [(each, files[0].parent) for each in records], processor, options=RenderOptions(), seed=3
    )
    dataset.set_epoch(2)
    found = list(stream)
    assert positions(found) == list(range(13))
    for sample, expected in zip(found, map(dataset.__getitem__, range(13)), strict=True):
        assert sample.keys() == expected.keys()
        assert all(torch.equal(sample[name], expected[name]) for name in sample)


@pytest.mark.parametrize("shuffle", [0, 4])
@pytest.mark.parametrize(("processes", "workers"), [(1, 1), (2, 3), (4, 5)])
def test_every_record_comes_once_an_epoch(files, maker, monkeypatch, processes, workers, shuffle) -> None:
    seen = []
    for rank in range(processes):
        stream = RecordStream(files, maker, rank=rank, processes=processes, shuffle=shuffle)
        for worker in range(workers):
            seen += positions(in_worker(monkeypatch, stream, worker, workers))
    assert sorted(seen) == list(range(13))


def test_the_order_follows_seed_and_epoch(files, maker) -> None:
    stream = RecordStream(files, maker, shuffle=5)
    first, again = positions(stream), positions(stream)
    stream.set_epoch(1)
    other = positions(stream)
    assert first == again != list(range(13))
    assert other not in (first, list(range(13)))
    assert sorted(other) == list(range(13))


@pytest.mark.parametrize("shuffle", [0, 4])
@pytest.mark.parametrize("taken", range(7))
def test_a_pass_goes_on_in_the_middle(files, maker, monkeypatch, taken, shuffle) -> None:
    def batches(stream: RecordStream) -> list[list[int]]:
        """What a loader with two workers and batches of two gives."""
        each = [positions(in_worker(monkeypatch, stream, worker, 2)) for worker in range(2)]
        parts = [[found[start : start + 2] for start in range(0, len(found), 2)] for found in each]
        return [part[turn] for turn in range(8) for part in parts if turn < len(part)]

    resumed = RecordStream(files, maker, shuffle=shuffle)
    resumed.go_on_after(epoch=0, batches=taken, batch_size=2)
    whole = batches(RecordStream(files, maker, shuffle=shuffle))
    assert batches(resumed) == whole[taken:]
    resumed.set_epoch(0)
    assert positions(resumed) == positions(RecordStream(files, maker, shuffle=shuffle))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_loader_with_workers_goes_on_in_the_middle(files, maker) -> None:
    def batches(stream: RecordStream) -> list[list[int]]:
        return [positions(batch) for batch in DataLoader(stream, 2, num_workers=2, collate_fn=list)]

    stream = RecordStream(files, maker, shuffle=4)
    whole = batches(stream)
    assert sorted(position for batch in whole for position in batch) == list(range(13))
    for taken in (3, 4):
        stream.go_on_after(epoch=0, batches=taken, batch_size=2)
        assert batches(stream) == whole[taken:]


def shard(path: Path, count: int, *, broken: tuple[int, ...] = ()) -> Path:
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            file = io.BytesIO()
            Image.new("RGB", (64, 48), (number, 0, 0)).save(file, "PNG")
            native = {
                "conversations": [
                    {"from": "human", "value": "<image>\nWhat is <bbox_location0>?"},
                    {"from": "gpt", "value": f"a {number}"},
                ],
                "box_x1y1x2y2": [[[70 if number in broken else 5, 5, 90, 40]], []],
            }
            for suffix, content in (("png", file.getvalue()), ("json", json.dumps(native).encode())):
                entry = tarfile.TarInfo(f"{path.stem}-{number}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def test_shards_bring_their_pictures(tmp_path, maker) -> None:
    (tmp_path / "shards").mkdir()
    for name in ("one", "two"):
        shard(tmp_path / "shards" / f"{name}.tar", 3)
    found = list(RecordStream([tmp_path / "shards"], maker))
    assert positions(found) == list(range(6))
    reds = [float(sample["pixel_values"][0, 0].mean()) for sample in found]
    assert reds[:3] == reds[3:] == sorted(set(reds))
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_a_bad_record_ends_a_stream_or_is_replaced_by_the_next(tmp_path, maker, caplog) -> None:
    path = shard(tmp_path / "x.tar", 4, broken=(1,))
    with pytest.raises(RecordError, match=r"x\.tar:2 record \"x-1\".*outside"):
        list(RecordStream([path], maker))
    assert positions(RecordStream([path], maker, on_bad="skip")) == [0, 2, 2, 3]
    assert 'record "x-1"' in caplog.text


def test_a_missing_picture_is_named(tmp_path, files, maker) -> None:
    write_records(tmp_path / "other.json", [record(0, "gone.png")])
    with pytest.raises((ImageError, RecordError), match=r"gone\.png"):
        list(RecordStream([tmp_path / "other.json"], maker))


def test_what_can_not_be_streamed_is_refused(tmp_path, files, maker) -> None:
    with pytest.raises(RecordError, match="mustela data convert --from coco"):
        RecordStream([SAMPLES["coco"](tmp_path / "coco")], maker)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        RecordStream(files, maker, rank=2, processes=2)
    with pytest.raises(ConfigError, match="2 paths, 1 folders"):
        RecordStream(files, maker, folders=[tmp_path])
    with pytest.raises(ConfigError, match="shuffle is -1"):
        RecordStream(files, maker, shuffle=-1)
