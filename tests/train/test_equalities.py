"""What must come out the same: resumed and unbroken, workers and none, one big batch and many small ones."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
import torch

from mustela.data import dataset as dataset_module
from mustela.data.normalising import Normaliser
from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError
from mustela.train import checkpoint as checkpoint_module


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_dropout(recipe: dict[str, Any]) -> dict[str, Any]:
    model = recipe["from_scratch"]
    still = {**model["language_model"], "attention_dropout": 0.0}
    return {**recipe, "from_scratch": {**model, "language_model": still}}


@pytest.mark.parametrize("kind", ["scratch", "classic"])
def test_a_resumed_run_equals_an_unbroken_one(runs, request, kind):
    recipe = request.getfixturevalue(kind)
    runs("unbroken", recipe)
    # Once in the middle of an epoch, with workers that had fetched ahead.
    runs.interrupted("resumed", recipe, at=3)
    assert [step for _, step, _ in runs.losses("resumed")] == [1, 2, 3]
    runs("resumed", recipe, ["--dataloader_num_workers", 2])
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same_weights(runs.weights("resumed"), runs.weights("unbroken"))
    if kind == "classic":
        file = "mm_projector.safetensors"
        assert same_weights(runs.weights("resumed", file), runs.weights("unbroken", file))


@pytest.mark.slow
def test_a_run_that_is_resumed_at_the_end_of_an_epoch_equals_an_unbroken_one(runs, scratch):
    recipe = {**scratch, "max_steps": -1, "num_train_epochs": 2, "save_strategy": "epoch"}
    recipe["per_device_train_batch_size"] = 8
    runs("unbroken", recipe)
    steps = runs.losses("unbroken")[-1][1]
    runs.interrupted("resumed", recipe, at=steps // 2)
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same_weights(runs.weights("resumed"), runs.weights("unbroken"))


@pytest.mark.slow
def test_a_kill_while_saving_costs_only_that_checkpoint(runs, scratch, monkeypatch):
    decoded = []
    load = dataset_module.load_image
    monkeypatch.setattr(dataset_module, "load_image", lambda *a, **k: (decoded.append(1), load(*a, **k))[1])
    runs("unbroken", scratch)
    pictures = len(decoded)
    marks = []
    mark = checkpoint_module.mark_complete

    def killed_at_the_second(path, content):
        marks.append(path)
        if len(marks) == 2:
            raise KeyboardInterrupt
        mark(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("mustela.train.checkpointing.mark_complete", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            runs("killed", scratch, ["--save_total_limit", 1])
    assert marks[-1].name == "checkpoint-4"
    decoded.clear()
    runs("killed", scratch, ["--save_total_limit", 1])
    # Those of the two steps that are skipped aren't even opened.
    assert pictures - len(decoded) == 2 * scratch["per_device_train_batch_size"]
    assert f"Going on from {runs.root / 'killed' / 'checkpoint-2'}" in runs.console
    assert runs.losses("killed") == runs.losses("unbroken")
    assert same_weights(runs.weights("killed"), runs.weights("unbroken"))


def no_room(path, *, below, whole):
    """Makes a function that a disk without room for a path refuses."""

    def refuse(*args, **kwargs):
        if any(below in str(argument) for argument in args[:2]):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(*args, **kwargs)

    return refuse


@pytest.mark.parametrize(
    ("module", "function"),
    [(torch, "save"), pytest.param(os, "mkdir", marks=pytest.mark.slow)],
    ids=["full", "without inodes"],
)
def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(runs, scratch, monkeypatch, module, function):
    below = str(runs.root / "run" / "unfinished" / "checkpoint-4")
    with monkeypatch.context() as patch:
        whole = getattr(module, function)
        patch.setattr(module, function, no_room(below, below=below, whole=whole))
        with pytest.raises(CheckpointError, match=r"checkpoint-4 can't be written.*No space left"):
            runs("run", scratch)
    assert [step for step, _ in checkpoint_module.checkpoints(runs.root / "run")] == [2]
    assert checkpoint_module.newest_checkpoint(runs.root / "run") == runs.root / "run" / "checkpoint-2"
    assert runs("run", scratch).finished


@pytest.mark.slow
def test_stages_are_resumed_inside_and_between(runs, scratch, shapes):
    stages = [
        {"name": "refer", "max_steps": 3},
        {"name": "mix", "data_path": [str(shapes / "train.json")], "freeze_vision_tower": True},
    ]
    recipe = {**scratch, "stages": stages}
    runs("unbroken", recipe)
    assert [line[:2] for line in runs.losses("unbroken")] == [
        *(("refer", step) for step in (1, 2, 3)),
        *(("mix", step) for step in (1, 2, 3, 4)),
    ]
    for name, at, stage in (("inside", 3, "mix"), ("between", 0, "mix"), ("first", 2, "refer")):
        runs.interrupted(name, recipe, at=at, stage=stage)
        runs(name, recipe)
        assert runs.losses(name) == runs.losses("unbroken")
        assert same_weights(runs.weights(name), runs.weights("unbroken"))
    assert not (runs.root / "unbroken" / "stage-1-refer").exists()


@pytest.mark.slow
def test_workers_change_nothing(runs, scratch):
    recipe = {**scratch, "max_steps": -1, "num_train_epochs": 2}
    runs("none", recipe)
    runs("two", recipe, ["--dataloader_num_workers", 2])
    runs("lasting", recipe, ["--dataloader_num_workers", 2, "--dataloader_persistent_workers"])
    for name in ("two", "lasting"):
        assert runs.losses(name) == runs.losses("none")
        assert same_weights(runs.weights(name), runs.weights("none"))


def test_pictures_travel_as_bytes_and_change_nothing(runs, scratch, monkeypatch):
    arrived = []
    normalise = Normaliser.__call__

    def watched(self, inputs):
        arrived.append(inputs["pixel_values"].dtype)
        return normalise(self, inputs)

    monkeypatch.setattr(Normaliser, "__call__", watched)
    runs("bytes", scratch)
    assert set(arrived) == {torch.uint8}
    monkeypatch.setattr(MustelaProcessor, "with_bytes", lambda self: self)
    runs("floats", scratch)
    assert torch.float32 in arrived
    assert runs.losses("bytes") == runs.losses("floats")
    assert same_weights(runs.weights("bytes"), runs.weights("floats"))


@pytest.mark.slow
def test_one_batch_of_eight_equals_eight_of_one(runs, scratch):
    recipe = without_dropout(scratch)
    runs("together", recipe, ["--per_device_train_batch_size", 8])
    runs("apart", recipe, ["--per_device_train_batch_size", 1, "--gradient_accumulation_steps", 8])
    for (*_, one), (*_, other) in zip(runs.losses("together"), runs.losses("apart"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    norms = [
        [line["grad_norm"] for line in runs.log(name) if "loss" in line] for name in ("together", "apart")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


@pytest.mark.slow
def test_held_out_questions_do_not_change_the_training(runs, scratch, shapes):
    runs("without", scratch)
    asked = []

    def make_examiner(stage, pictures):
        def examine(model, processor, step):
            asked.append((step, model.training))
            torch.rand(3)
            return {"referring_accuracy": 0.5}

        return examine

    flags = ["--eval_strategy", "steps", "--eval_steps", 1, "--eval_data_path", shapes / "val.json"]
    runs("with", scratch, flags, make_examiner=make_examiner)
    assert runs.losses("with") == runs.losses("without")
    assert same_weights(runs.weights("with"), runs.weights("without"))
    assert asked == [(step, False) for step in (1, 2, 3, 4)]
    log = runs.log("with")
    assert sum("eval_loss" in line for line in log) == 4
    assert sum(line.get("eval_referring_accuracy") == 0.5 for line in log) == 4


@pytest.mark.slow
def test_gradient_checkpointing_changes_nothing_with_frozen_embeddings(runs, classic):
    recipe = {**classic, "mm_use_im_start_end": False}
    runs("plain", recipe)
    runs("checkpointed", recipe, ["--gradient_checkpointing", "True"])
    one, other = runs.losses("plain"), runs.losses("checkpointed")
    assert [line[2] for line in one] == pytest.approx([line[2] for line in other], abs=1e-5)
    projector = [runs.weights(name, "mm_projector.safetensors") for name in ("plain", "checkpointed")]
    for name, tensor in projector[0].items():
        assert torch.allclose(tensor, projector[1][name], atol=1e-5), name
