"""Two processes do what one does, whatever engine joins them and whatever each of them gets to see."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from mustela.errors import ConfigError
from mustela.model.loading import load_model
from mustela.train.checkpoint import is_complete

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
def recipe_of(runs_in, scratch, mixed, shapes, tmp_path_factory):
    """Makes a recipe for the records above, on a base with rows of new tokens that learn alone."""
    root = tmp_path_factory.mktemp("base")
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe |= {
        "version": "auto",
        "data_path": [str(mixed)],
        "train_sampling_strategy": "sequential",
        "max_steps": 3,
        "ddp_find_unused_parameters": False,
        # Three records, which two processes can't share evenly.
        "eval_data_path": [str(shapes / "val.json")],
        "eval_image_folder": [str(shapes / "images")],
        "eval_records": 3,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "per_device_eval_batch_size": 1,
        "eval_max_new_tokens": 2,
        "eval_pictures": 0,
    }

    def of(mode, *, tied=None):
        # Adapters on an embedding that is the head, too, are more than FSDP can share out.
        tied = mode != "lora" if tied is None else tied
        folder = root / ("tied" if tied else "untied")
        if not folder.exists():
            model = scratch["from_scratch"]
            changed = {"attention_dropout": 0.0, "tie_word_embeddings": tied}
            changed = {**model, "language_model": {**model["language_model"], **changed}}
            base = {**scratch, "from_scratch": changed, "mm_use_im_start_end": True}
            runs_in(root)(folder.name, base, ["--max_steps", 1])
        return {**recipe, "model_name_or_path": str(folder / "final"), **MODES[mode]}

    return of


@pytest.fixture(scope="module")
def alone(runs_in, recipe_of, tmp_path_factory):
    """Gives losses, the last of them on held-out records, and weights of one process, by mode."""
    made = {}

    def of(mode):
        if mode not in made:
            runs = runs_in(tmp_path_factory.mktemp(mode))
            runs("one", recipe_of(mode))
            made[mode] = losses(runs, "one"), runs.weights("one", saved(mode))
        return made[mode]

    return of


def losses(runs, name):
    held_out = [line["eval_loss"] for line in runs.log(name) if "eval_loss" in line]
    return [*(loss for *_, loss in runs.losses(name)), *held_out]


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
    expected, weights = alone(mode)
    assert losses(runs, "two") == pytest.approx(expected, abs=1e-5)
    lines = (runs.root / "two" / "predictions.jsonl").read_text("utf-8").splitlines()
    answered = [json.loads(line) for line in lines]
    assert len({answer["question_id"] for answer in answered}) == len(answered) > 0
    two = runs.weights("two", saved(mode))
    assert two.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.slow
def test_what_fsdp_can_not_share_out_is_told(runs, recipe_of, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"rows of it learn beside adapters.*ZeRO-2"):
        runs("run", recipe_of("lora", tied=True))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp2", "zero3"])
def test_a_signal_to_one_process_stops_both_and_they_go_on(runs, scratch, engine, tmp_path):
    if engine.startswith("zero"):
        pytest.importorskip("deepspeed")
    recipe = {
        **scratch,
        "per_device_train_batch_size": 2,
        "max_steps": 6,
        "save_steps": 100,
        **ENGINES[engine],
    }
    job = {"processes": 2, "environment": {"DS_ACCELERATOR": "cpu"}}
    assert runs.forked("unbroken", recipe, **job)[0] == [0, 0]
    samples = tmp_path / "samples"
    stop = {"signal": [2, signal.SIGTERM, [1]], "samples": str(samples)}
    statuses, told = runs.forked("stopped", recipe, **job, **stop)
    assert statuses == [128 + signal.SIGTERM] * 2, told
    (checkpoint,) = (runs.root / "stopped").glob("checkpoint-*")
    assert is_complete(checkpoint)
    assert (runs.root / "stopped" / "final").exists() is False
    # Another number of processes is told.
    statuses, told = runs.forked("stopped", recipe)
    assert statuses == [2], told
    assert "was written by 2 processes, and now there are 1" in told
    assert runs.forked("stopped", recipe, **job)[0] == [0, 0]
    assert runs.losses("stopped") == runs.losses("unbroken")
    one, other = runs.weights("stopped"), runs.weights("unbroken")
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    # What two processes wrote loads in one.
    model, _ = load_model(runs.root / "unbroken" / "checkpoint-6")
    final, _ = load_model(runs.root / "unbroken" / "final")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, final.get_parameter(name)), name
