"""Runs whose rows hold several samples."""

from __future__ import annotations

import re

import pytest
from tests.train.test_equalities import same_weights, without_dropout

from mustela.errors import ConfigError

WHOLE_EPOCH = ["--per_device_train_batch_size", 1, "--gradient_accumulation_steps", 15]


@pytest.mark.slow
def test_a_packed_run_equals_one_of_single_samples(runs, scratch):
    recipe = {**without_dropout(scratch), "max_steps": 2}
    runs("single", recipe, ["--per_device_train_batch_size", 15])
    runs("packed", recipe, ["--packing", "True", *WHOLE_EPOCH])
    samples, rows = map(int, re.search(r"Packing: (\d+) samples in (\d+) rows", runs.console).groups())
    assert samples == 15
    assert 1 < rows < 15
    single, packed = ([line for line in runs.log(name) if "loss" in line] for name in ("single", "packed"))
    assert len(packed) == len(single) == 2
    for one, other in zip(single, packed, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], abs=1e-5)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


@pytest.mark.slow
def test_a_packed_run_with_adapters_and_rounds_apart_is_resumed(runs, classic, shapes):
    recipe = {
        **classic,
        "data_path": [str(shapes / "train_apart.json")],
        "model_max_length": 900,
        "per_device_train_batch_size": 1,
        "packing": True,
        "separate_rounds": True,
        "tune_mm_mlp_adapter": False,
        "lora_enable": True,
        "lora_r": 4,
        "max_steps": 5,
    }
    runs("unbroken", recipe)
    runs.interrupted("resumed", recipe, at=3)
    runs("resumed", recipe, ["--dataloader_num_workers", 2])
    assert runs.losses("resumed") == runs.losses("unbroken")
    file = next((runs.root / "unbroken" / "final").glob("*.safetensors")).name
    assert same_weights(runs.weights("resumed", f"final/{file}"), runs.weights("unbroken", f"final/{file}"))


def test_packing_groups_nothing_by_length(runs, scratch):
    with pytest.raises(ConfigError, match=r"train_sampling_strategy group_by_length.*Leave one of them out"):
        runs("run", scratch, ["--packing", "True", "--train_sampling_strategy", "group_by_length"])
