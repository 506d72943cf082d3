"""Streamed samples: one order for all readers, each record once an epoch, from any place on."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import pytest
import torch
from tests.data.formats.samples import SAMPLES
from tests.data.test_stream import files, maker, record, shard

from mustela.data.check import CheckOptions
from mustela.data.dataset import RecordDataset
from mustela.data.formats import Source
from mustela.data.native import write_records
from mustela.data.reading import read_records
from mustela.data.render import RenderOptions
from mustela.data.streamed import RecordFiles, StreamedSamples
from mustela.errors import ImageError, RecordError

__all__ = ["files", "maker"]


def opened(*paths: Path, images: Path | None = None) -> RecordFiles:
    return RecordFiles([Source(path, images) for path in paths], checks=CheckOptions())


def positions(samples: StreamedSamples, places) -> list[int]:
    return [int(samples[place]["record"][0]) for place in places]


def test_in_order_one_file_gives_the_samples_of_a_data_set(files, maker, processor) -> None:
    records = read_records(files[0])
    dataset = RecordDataset(
        [(each, files[0].parent) for each in records], processor, options=RenderOptions(), seed=3
    )
    streamed = StreamedSamples(opened(files[0]), maker, length=16, shuffle=False)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for place in range(8):
            sample, expected = streamed[8 * epoch + place], dataset[place]
            assert sample.keys() == expected.keys()
            assert all(torch.equal(sample[name], expected[name]) for name in sample)


@pytest.mark.parametrize("buffer_size", [0, 3, 1000])
def test_every_record_comes_once_an_epoch_in_another_order(files, maker, buffer_size) -> None:
    streamed = StreamedSamples(opened(*files), maker, length=39, buffer_size=buffer_size)
    found = positions(streamed, range(39))
    epochs = [found[start : start + 13] for start in range(0, 39, 13)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    assert len(set(epochs[0])) == 13
    assert streamed.files.names(found[:13]) == [f"r{each // 2 + 8 * (each % 2)}" for each in found[:13]]


def test_readers_from_any_place_see_one_order(files, maker) -> None:
    def reader() -> StreamedSamples:
        return StreamedSamples(opened(*files), maker, length=40, buffer_size=4)

    whole = positions(reader(), range(40))
    for first in (0, 5, 12, 13, 14, 27, 39):
        assert positions(reader(), range(first, 40)) == whole[first:]
    # Workers take batches in turns; each opens the files by itself.
    workers = [reader() for _ in range(3)]
    batches = [range(start, start + 4) for start in range(0, 40, 4)]
    taken = [positions(workers[number % 3], batch) for number, batch in enumerate(batches)]
    assert [each for batch in taken for each in batch] == whole
    # One that goes back begins again.
    assert positions(workers[0], (7, 2, 30)) == [whole[7], whole[2], whole[30]]


def test_files_of_different_sizes_are_mixed_from_the_beginning_to_the_end(tmp_path) -> None:
    write_records(tmp_path / "long.jsonl", [record(number) for number in range(400)])
    write_records(tmp_path / "short.jsonl", [record(number) for number in range(40)])
    found = opened(tmp_path / "long.jsonl", tmp_path / "short.jsonl").interleaved(random.Random(0))
    at = [place for place, entry in enumerate(found) if entry.file == 1]
    assert len(at) == 40
    assert at[0] < 60
    assert at[-1] > 300


def test_more_files_than_are_open_at_once_are_all_read(tmp_path) -> None:
    paths = [tmp_path / f"{number}.jsonl" for number in range(40)]
    for number, path in enumerate(paths):
        write_records(path, [record(number)] * (number % 3))
    found = [entry.file for entry in opened(*paths).interleaved(random.Random(0))]
    assert sorted(found) == sorted(number for number in range(40) for _ in range(number % 3))


def test_shards_bring_their_pictures_and_a_folder_is_read_in_parts(tmp_path, maker) -> None:
    (tmp_path / "shards" / "more").mkdir(parents=True)
    shard(tmp_path / "shards" / "one.tar", 3)
    shard(tmp_path / "shards" / "more" / "two.tar", 2)
    read = opened(tmp_path / "shards")
    assert len(read.files) == 2
    assert "WebDataset" in read.reading[0]
    streamed = StreamedSamples(read, maker, length=10)
    found = positions(streamed, range(5))
    assert sorted(read.names(found)) == ["one-0", "one-1", "one-2", "two-0", "two-1"]
    assert len(list(read.records())) == 5
    # A worker that isn't forked is sent it.
    sent = pickle.loads(pickle.dumps(StreamedSamples(read, maker, length=10)))
    assert positions(sent, range(5)) == found


def test_bad_ones_end_the_stream_or_are_replaced_by_the_next(tmp_path, files, maker, caplog) -> None:
    path = shard(tmp_path / "x.tar", 4, broken=(1, 3))

    def streamed(**how) -> StreamedSamples:
        return StreamedSamples(opened(path), maker, length=8, shuffle=False, **how)

    with pytest.raises(RecordError, match=r"x\.tar:2 record \"x-1\".*outside"):
        positions(streamed(), range(4))
    skipping = streamed(on_bad_record="skip")
    # The last of an epoch is replaced by the first of the next.
    assert positions(skipping, range(6)) == [0, 2, 2, 0, 0, 2]
    assert skipping.skipped == {"too_long": 0, "bad_image": 0, "bad_record": 3}
    assert 'record "x-1"' in caplog.text
    # From its own place on, or after what came before: the same.
    assert positions(streamed(on_bad_record="skip"), (3, 4)) == [0, 0]


def test_a_picture_that_is_cut_off(tmp_path, files, maker) -> None:
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    path = tmp_path / "cut.json"
    write_records(path, [record(0), record(1, "cut.png"), record(2)])
    with pytest.raises(ImageError, match=r'record "r1".*cut'):
        positions(StreamedSamples(opened(path), maker, length=3, shuffle=False), range(3))
    streamed = StreamedSamples(opened(path), maker, length=3, shuffle=False, on_bad_image="skip")
    assert positions(streamed, range(3)) == [0, 2, 2]
    assert streamed.skipped["bad_image"] == 1


def test_nothing_to_read_is_told(tmp_path, maker, caplog) -> None:
    (tmp_path / "empty.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RecordError, match=r"no record in .*empty\.json"):
        StreamedSamples(opened(tmp_path / "empty.json"), maker, length=2)[0]
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps({"id": str(number)}) + "\n" for number in range(5)), encoding="utf-8")
    with pytest.raises(RecordError, match="none of 5 records in a row"):
        StreamedSamples(opened(path), maker, length=9, on_bad_record="skip")[0]
    with pytest.raises(RecordError, match="mustela data convert --from coco"):
        opened(SAMPLES["coco"](tmp_path / "coco"))
