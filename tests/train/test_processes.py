"""Two processes do what one does, whatever engine joins them and whatever each of them gets to see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

LAUNCH = Path(__file__).parents[2] / "recipes" / "launch"
MODES = {
    "full": {"freeze_vision_tower": False},
    "projector": {"tune_mm_mlp_adapter": True},
    "lora": {"lora_enable": True, "lora_r": 4, "lora_dropout": 0.0, "freeze_vision_tower": False},
}
ENGINES = {
    "ddp": {},
    "fsdp2": {"fsdp": True},
    "zero2": {"deepspeed": str(LAUNCH / "zero2.json")},
    "zero3": {"deepspeed": str(LAUNCH / "zero3.json")},
}


@pytest.fixture(scope="module")
def mixed(shapes, tmp_path_factory):
    """Records two by two: pictures with regions, texts, pictures without regions, texts, and so on."""
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))[:6]
    plain = [
        {
            "id": f"plain-{number}",
            "image": records[number]["image"],
            "conversations": [
                {"from": "human", "value": "<image>\nIs there a star?"},
                {"from": "gpt", "value": "Yes." if number else "No."},
            ],
        }
        for number in range(2)
    ]
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
    seen = [*records[:2], *plain, *records[2:4]]
    order = [record for at in range(0, 6, 2) for record in (*seen[at : at + 2], *text[at : at + 2])]
    file = tmp_path_factory.mktemp("mixed") / "mixed.json"
    file.write_text(json.dumps(order), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def recipe_of(runs_in, scratch, mixed, tmp_path_factory):
    """Makes a recipe for the records above, on a base with rows of new tokens that learn alone."""
    root = tmp_path_factory.mktemp("base")
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe |= {
        "version": "auto",
        "data_path": [str(mixed)],
        "train_sampling_strategy": "sequential",
        "max_steps": 3,
        "ddp_find_unused_parameters": False,
    }

    def of(mode, *, tied):
        folder = root / ("tied" if tied else "untied")
        if not folder.exists():
            model = scratch["from_scratch"]
            changed = {"attention_dropout": 0.0, "tie_word_embeddings": tied}
            changed = {**model, "language_model": {**model["language_model"], **changed}}
            base = {**scratch, "from_scratch": changed, "mm_use_im_start_end": True}
            runs_in(root)(folder.name, base, ["--max_steps", 1])
        return {**recipe, "model_name_or_path": str(folder / "final"), **MODES[mode]}

    # Adapters on an embedding that is the head, too, are more than FSDP can share out.
    return lambda mode: of(mode, tied=mode != "lora")


@pytest.fixture(scope="module")
def alone(runs_in, recipe_of, tmp_path_factory):
    """Gives losses and weights of one process, by mode."""
    made = {}

    def of(mode):
        if mode not in made:
            runs = runs_in(tmp_path_factory.mktemp(mode))
            runs("one", recipe_of(mode))
            made[mode] = [loss for *_, loss in runs.losses("one")], runs.weights("one", saved(mode))
        return made[mode]

    return of


def saved(mode):
    return "final/adapter_model.safetensors" if mode == "lora" else "final/model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_equal_one(runs, recipe_of, alone, engine, mode):
    if engine.startswith("zero"):
        pytest.importorskip("deepspeed")
    recipe = {**recipe_of(mode), "per_device_train_batch_size": 2, **ENGINES[engine]}
    told = runs.on_two_processes("two", recipe, environment={"DS_ACCELERATOR": "cpu"})
    # Each message once, from the main process.
    assert told.count("The model is in") == 1
    losses, weights = alone(mode)
    assert [loss for *_, loss in runs.losses("two")] == pytest.approx(losses, abs=1e-5)
    two = runs.weights("two", saved(mode))
    assert two.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-3, msg=name)
