"""A process with only text beside one with pictures: no waiting, and the weights of one process."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def mixed(shapes, tmp_path):
    """Records by turns: two with a picture and regions, two without any."""
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))[:6]
    text = [
        {
            "id": f"text-{number}",
            "conversations": [
                {"from": "human", "value": f"What is {number} and 1?"},
                {"from": "gpt", "value": f"{number + 1}."},
            ],
        }
        for number in range(6)
    ]
    order = [record for at in range(0, 6, 2) for record in (*records[at : at + 2], *text[at : at + 2])]
    file = tmp_path / "mixed.json"
    file.write_text(json.dumps(order), encoding="utf-8")
    return file


MODES = {
    "whole": {"freeze_vision_tower": False},
    "projector": {"tune_mm_mlp_adapter": True},
    "lora": {"lora_enable": True, "lora_r": 4, "lora_dropout": 0.0, "freeze_vision_tower": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one(runs, scratch, mixed, mode):
    model = scratch["from_scratch"]
    still = {**model["language_model"], "attention_dropout": 0.0}
    base = {**scratch, "from_scratch": {**model, "language_model": still}}
    runs("base", base, ["--max_steps", 1])
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe |= {
        "model_name_or_path": str(runs.root / "base" / "final"),
        "version": "auto",
        "data_path": [str(mixed)],
        "train_sampling_strategy": "sequential",
        "max_steps": 3,
        "ddp_find_unused_parameters": False,
        **MODES[mode],
    }
    runs("one", recipe)
    runs.on_two_processes("two", {**recipe, "per_device_train_batch_size": 2})
    losses = [[loss for *_, loss in runs.losses(name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    saved = "final/adapter_model.safetensors" if mode == "lora" else "final/model.safetensors"
    one, two = runs.weights("one", saved), runs.weights("two", saved)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-3)
