"""Losses that are not finite."""

from __future__ import annotations

import json

import pytest
import torch

from mustela.errors import TrainingError
from mustela.model import MustelaForConditionalGeneration


@pytest.fixture
def bad_step(monkeypatch):
    """Makes the loss of the batches with the given numbers, from 1, not a number."""
    whole = MustelaForConditionalGeneration.forward
    seen = []

    def spoil(*numbers):
        def forward(self, *args, **kwargs):
            output = whole(self, *args, **kwargs)
            seen.append(1)
            if len(seen) in numbers:
                output.loss = output.loss * float("nan")
            return output

        monkeypatch.setattr(MustelaForConditionalGeneration, "forward", forward)
        return seen

    return spoil


def test_a_loss_that_is_not_finite_stops_the_training_and_names_its_records(runs, scratch, shapes, bad_step):
    bad_step(3)
    with pytest.raises(TrainingError) as caught:
        runs("run", scratch)
    assert "The loss of step 3 is not finite" in str(caught.value)
    assert "--max_nonfinite_losses 10" in str(caught.value)
    ids = {record["id"] for record in json.loads((shapes / "train_refer.json").read_text("utf-8"))}
    named = set(str(caught.value).split('"')[1::2])
    assert len(named) == scratch["per_device_train_batch_size"]
    assert named <= ids
    assert (runs.root / "run" / "checkpoint-2").is_dir()
    assert not (runs.root / "run" / "final").exists()


def test_so_many_may_be_left_out_and_change_no_weight(runs, scratch, bad_step):
    seen = bad_step(2)
    recipe = {**scratch, "lr_scheduler_type": "constant", "logging_nan_inf_filter": False}
    runs("run", recipe, ["--max_nonfinite_losses", 1, "--save_steps", 1, "--max_steps", 3])
    one, two, three = (runs.weights("run", f"checkpoint-{step}/model.safetensors") for step in (1, 2, 3))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(two[name], three[name]) for name in two)
    assert "Left out step 2: its loss is not finite, in a batch of the records" in runs.console
    seen.clear()
    bad_step(2, 4)
    with pytest.raises(TrainingError, match="The loss of step 4"):
        runs("again", recipe, ["--max_nonfinite_losses", 1])


@pytest.mark.slow
def test_a_bad_batch_among_several_of_a_step_takes_the_step_with_it(runs, scratch, bad_step):
    bad_step(3)
    flags = ["--max_nonfinite_losses", 1, "--gradient_accumulation_steps", 2, "--max_steps", 2]
    runs("run", scratch, [*flags, "--save_steps", 1])
    one, two = (runs.weights("run", f"checkpoint-{step}/model.safetensors") for step in (1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
