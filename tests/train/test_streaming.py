"""Training on files that are read as they come: resumed, by several workers and processes."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from mustela.errors import ConfigError, RecordError, TrainingError
from mustela.train.trainer import MustelaTrainer


@pytest.fixture(scope="module")
def streamed(scratch, shapes, tmp_path_factory):
    """A recipe for 8 records in JSON lines and 4 in shards with their pictures."""
    root = tmp_path_factory.mktemp("streamed")
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))[:12]
    lines = [json.dumps(each) + "\n" for each in records[:8]]
    (root / "some.jsonl").write_text("".join(lines), encoding="utf-8")
    (root / "shards").mkdir()
    for start in (8, 10):
        with tarfile.open(root / "shards" / f"{start}.tar", "w") as tar:
            for each in records[start : start + 2]:
                picture = (shapes / "images" / each["image"]).read_bytes()
                for suffix, content in (("png", picture), ("json", json.dumps(each).encode())):
                    entry = tarfile.TarInfo(f"{each['id']}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    return {
        **scratch,
        "streaming": True,
        "shuffle_buffer_size": 4,
        "data_path": [str(root / "some.jsonl"), str(root / "shards")],
        # Two epochs.
        "max_steps": 6,
    }


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_run_equals_an_unbroken_one_whatever_the_workers(runs, streamed):
    runs("unbroken", streamed)
    # In the middle of the second epoch.
    runs.interrupted("resumed", streamed, at=4)
    assert [step for _, step, _ in runs.losses("resumed")] == [1, 2, 3, 4]
    runs("resumed", streamed, ["--dataloader_num_workers", 2])
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same_weights(runs.weights("resumed"), runs.weights("unbroken"))
    assert not any("epoch" in line for line in runs.log("unbroken"))
    assert "read as WebDataset" in runs.console
    report = json.loads((runs.root / "unbroken" / "data_report.json").read_text("utf-8"))
    assert report["train"]["train"]["streaming"] is True
    assert [file["format"] for file in report["train"]["train"]["files"]] == [
        "ferret",
        "webdataset",
        "webdataset",
    ]
    assert report["train"]["skipped_in_training"] == {"too_long": 0, "bad_image": 0, "bad_record": 0}


@pytest.mark.slow
def test_workers_on_both_sides_of_an_interruption(runs, streamed):
    workers = {**streamed, "dataloader_num_workers": 2, "dataloader_persistent_workers": True}
    runs("unbroken", workers)
    runs.interrupted("resumed", workers, at=3)
    runs("resumed", workers)
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same_weights(runs.weights("resumed"), runs.weights("unbroken"))


@pytest.mark.slow
def test_two_processes_with_workers_equal_one(runs, streamed, tmp_path):
    model = streamed["from_scratch"]
    still = {**model["language_model"], "attention_dropout": 0.0}
    recipe = {**streamed, "from_scratch": {**model, "language_model": still}}
    runs("one", recipe)
    halves = {**recipe, "per_device_train_batch_size": 2, "dataloader_num_workers": 2}
    samples = tmp_path / "samples"
    runs.on_two_processes("two", halves, samples=str(samples))
    losses = [[loss for *_, loss in runs.losses(name)] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    seen = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    for epoch in (range(3), range(3, 6)):
        records = Counter(record for step, _, _, found, _ in seen if step in epoch for record in found)
        assert len(records) == 12
        assert set(records.values()) == {1}
    # Each process by itself goes on where it was.
    runs.interrupted("resumed", recipe, at=4)
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("one")


def test_one_file_in_order_is_what_it_is_without_streaming(runs, streamed, scratch):
    recipe = {**scratch, "max_steps": 3, "train_sampling_strategy": "sequential", "save_steps": 100}
    runs("indexed", recipe)
    runs("streamed", {**recipe, "streaming": True})
    assert runs.losses("streamed") == runs.losses("indexed")


def test_a_dry_run_says_what_it_can(runs, streamed):
    assert not runs("dry", streamed, ["--dry_run", "True"]).finished
    assert "streamed, 4 a step: 6 steps use 24 samples" in runs.console
    assert "tokens a sample" in runs.console
    assert "read as WebDataset" in runs.console
    assert not (runs.root / "dry" / "config.yaml").exists()


def test_a_loss_that_is_not_finite_names_the_records(runs, streamed, monkeypatch):
    whole = MustelaTrainer.compute_loss

    def broken(trainer, *args, **kwargs):
        return whole(trainer, *args, **kwargs) * float("nan")

    monkeypatch.setattr(MustelaTrainer, "compute_loss", broken)
    known = [
        json.loads(line)["id"] for line in Path(streamed["data_path"][0]).read_text("utf-8").splitlines()
    ]
    with pytest.raises(TrainingError, match=f'"({"|".join(known)})"'):
        runs("run", streamed)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--max_steps -1", "Give --max_steps N"),
        ("--data_multiple 2 1", "name a file twice in data_path"),
        ("--packing True", "packing looks at the lengths"),
        ("--train_sampling_strategy group_by_length", "random and sequential don't"),
        ("--save_strategy epoch", "take save_strategy steps"),
        ("--logging_strategy epoch", "take logging_strategy steps"),
        ("--cache_vision_features kept", "cache_vision_features is for pictures that have files"),
        ("--shuffle_buffer_size -1", "a number of records, from 0"),
        ("--streaming False", "shuffle_buffer_size is for streaming"),
    ],
)
def test_what_needs_counted_records_is_refused(runs, streamed, flags, message):
    with pytest.raises(ConfigError, match=message):
        runs("run", streamed, flags.split())


def test_shards_without_streaming_say_how(runs, streamed):
    _, shards = streamed["data_path"]
    recipe = {**streamed, "streaming": False, "shuffle_buffer_size": 1000}
    with pytest.raises(RecordError, match=r"is a folder.*--streaming True"):
        runs("run", {**recipe, "data_path": [shards]})
    with pytest.raises(RecordError, match=r"--streaming True.*mustela data convert"):
        runs("run", {**recipe, "data_path": [f"{shards}/8.tar"]})
