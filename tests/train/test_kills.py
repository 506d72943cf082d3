"""A run that is killed again and again ends with the bits of one that never was."""

from __future__ import annotations

import json
import random
from collections import defaultdict

import pytest
import torch

KILLS = 20
METHODS = {
    "full": {"freeze_vision_tower": False},
    "lora": {"lora_enable": True, "lora_r": 4, "lora_dropout": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_change_nothing(runs, scratch, method):
    runs("base", scratch, ["--max_steps", 1])
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe |= {
        "model_name_or_path": str(runs.root / "base" / "final"),
        "max_steps": 40,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "dataloader_num_workers": 2,
        "save_steps": 1,
        "save_total_limit": 2,
        **METHODS[method],
    }
    samples = {name: runs.root / f"{name}.jsonl" for name in ("unbroken", "killed")}
    statuses, told = runs.forked("unbroken", recipe, samples=samples["unbroken"])
    assert statuses == [0], told
    rng = random.Random(method)
    in_checkpoint = 0
    for number in range(KILLS):
        # By turns at an access to a file of the run, and some time after a batch.
        if number % 2:
            death = {"die_at": rng.randrange(1, 200)}
        else:
            death = {"die_after": [rng.randrange(1, 5), rng.uniform(0, 0.2)]}
        statuses, told = runs.forked("killed", recipe, samples=samples["killed"], **death)
        assert statuses == [-9], f"kill {number + 1}: {told}"
        in_checkpoint += (runs.root / "killed" / "unfinished").exists()
    assert in_checkpoint
    statuses, told = runs.forked("killed", recipe, samples=samples["killed"])
    assert statuses == [0], told
    used = {}
    for name, path in samples.items():
        used[name] = defaultdict(set)
        for line in path.read_text("utf-8").splitlines():
            step, number, _, records, digest = json.loads(line)
            used[name][step, number].add((tuple(records), digest))
    # What was done again was done with the same samples, bit for bit.
    assert used["killed"] == used["unbroken"]
    assert len(used["unbroken"]) == 80
    assert all(len(batches) == 1 for batches in used["unbroken"].values())
    assert runs.losses("killed") == runs.losses("unbroken")
    file = "final/adapter_model.safetensors" if method == "lora" else "final/model.safetensors"
    killed, unbroken = runs.weights("killed", file), runs.weights("unbroken", file)
    assert killed.keys() == unbroken.keys()
    assert all(torch.equal(killed[name], tensor) for name, tensor in unbroken.items())
