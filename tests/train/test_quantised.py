"""Adapters on quantised bases, on the CPU: train, save, load, merge."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import load_file

from mustela.errors import CheckpointError, MissingExtraError
from mustela.model.loading import load_model, quantisation_for
from mustela.model.merging import merge, merge_adapter
from mustela.model.quantisation import UNQUANTISED, Quantisation

pytest.importorskip("bitsandbytes", reason="the quantization extra is not installed")

LORA = {
    "lora_enable": True,
    "lora_r": 4,
    "lora_alpha": 8,
    "tune_mm_mlp_adapter": False,
    "learning_rate": 1e-2,
}
KINDS = [
    {"bits": 4, "quant_type": "nf4", "double_quant": True},
    {"bits": 4, "quant_type": "fp4", "double_quant": False},
    {"bits": 8},
]


@pytest.fixture
def quantised(classic, wide_parts):
    """Adapters on the classic composition; its bits are the test's."""
    language_model, vision_tower = wide_parts
    parts = {"model_name_or_path": str(language_model), "vision_tower": str(vision_tower)}
    return {**classic, **LORA, **parts}


def quantised_layers(model):
    return {name: module for name, module in model.named_modules() if "8bitLt" in type(module).__name__} | {
        name: module for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"
    }


def logits(model, processor):
    text = processor.tokenizer("What is this? A red star.", return_tensors="pt")["input_ids"]
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    image = torch.full((1, model.config.base_config.image_tokens), processor.image_token_id)
    with torch.no_grad():
        return model(torch.cat([image, text], 1), pixel_values=pixels).logits


@pytest.mark.parametrize(
    "kind",
    [KINDS[0], KINDS[2], pytest.param(KINDS[1], marks=pytest.mark.slow)],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
def test_train_save_load_and_merge(runs, quantised, kind, wide_parts):
    recipe = {**quantised, **kind}
    runs("run", recipe)
    losses = [loss for *_, loss in runs.losses("run")]
    assert losses[-1] < losses[0]
    saved = runs.weights("run", "final/adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert any("multi_modal_projector" in name for name in saved)
    # As it was trained, and in full.
    rough, processor = load_model(
        runs.root / "run", device="cpu", quantisation=quantisation_for(runs.root / "run", kind["bits"])
    )
    layers = quantised_layers(rough)
    assert layers
    assert all(".language_model.layers." in name for name in layers)
    full, _ = load_model(runs.root / "run", device="cpu")
    assert not quantised_layers(full)
    expected, told = logits(full, processor), logits(rough, processor)
    assert torch.isfinite(told).all()
    assert torch.nn.functional.cosine_similarity(told.flatten(), expected.flatten(), dim=0) > 0.95
    merged, _ = load_model(merge_adapter(runs.root / "run", runs.root / "merged"), device="cpu")
    torch.testing.assert_close(logits(merged, processor), expected, atol=1e-4, rtol=1e-4)
    vision = load_file(wide_parts[1] / "model.safetensors")
    named = dict(merged.base.model.vision_tower.named_parameters())
    assert vision
    assert all(
        torch.equal(named[name.removeprefix("vision_model.")], tensor) for name, tensor in vision.items()
    )
    with pytest.raises(CheckpointError, match="is quantised: adapters are merged into full-precision"):
        merge(rough)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[2:], ids=lambda kind: str(kind["bits"]))
def test_a_resumed_run_equals_an_unbroken_one(runs, quantised, kind):
    recipe = {**quantised, **kind}
    runs("unbroken", recipe)
    runs.interrupted("resumed", recipe, at=3)
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("unbroken")
    one, other = (runs.weights(name, "final/adapter_model.safetensors") for name in ("unbroken", "resumed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_held_out_questions_do_not_change_the_training(runs, quantised, shapes, bits):
    recipe = {**quantised, "bits": bits}
    runs("without", recipe)
    flags = ["--eval_strategy", "steps", "--eval_steps", 1, "--eval_data_path", shapes / "val.json"]
    runs("with", recipe, flags)
    assert runs.losses("with") == runs.losses("without")
    one, other = (runs.weights(name, "final/adapter_model.safetensors") for name in ("without", "with"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_base_of_mustela_keeps_all_but_its_language_model(runs, scratch, wide_language_model):
    parts = scratch["from_scratch"]
    wide = {**parts, "language_model": {**parts["language_model"], **wide_language_model}}
    runs("base", {**scratch, "from_scratch": wide}, ["--max_steps", 1])
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    recipe |= {**LORA, "bits": 4, "model_name_or_path": str(runs.root / "base" / "final"), "version": "auto"}
    runs("run", recipe, ["--bf16", "--max_steps", 2])
    model, _ = load_model(runs.root / "base", device="cpu", quantisation=Quantisation(4))
    layers = quantised_layers(model)
    assert len(layers) == 2 * 7
    assert all(".language_model.layers." in name for name in layers)
    for name in UNQUANTISED:
        assert not any(f".{name}." in layer for layer in layers)
    assert "quantization_config" not in model.config.to_json_string()
    load_model(runs.root / "run", device="cpu")


def test_a_projector_that_was_packed_is_named_with_both_shapes(runs, quantised):
    runs("run", {**quantised, "bits": 4}, ["--max_steps", 1])
    from mustela.model.adapter import place_tensors, read_adapter, read_adapter_tensors

    final = runs.root / "run" / "final"
    model, _ = load_model(final, device="cpu")
    tensors = read_adapter_tensors(final, read_adapter(final))
    (name,) = (name for name in tensors if name.endswith("multi_modal_projector.weight"))
    packed = torch.nn.Linear(1, 512)
    model.base.model.multi_modal_projector = packed
    with pytest.raises(CheckpointError) as caught:
        place_tensors(model, tensors, who="the adapter", base="the base")
    for words in (name, "[64, 32]", "[512, 1]", "the adapter", "the base"):
        assert words in str(caught.value)


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize(
    "optim",
    [
        "paged_adamw_8bit",
        pytest.param("adamw_8bit", marks=pytest.mark.slow),
        pytest.param("paged_adamw_32bit", marks=pytest.mark.slow),
        pytest.param("lion_8bit", marks=pytest.mark.slow),
    ],
)
def test_optimisers_of_bitsandbytes(runs, classic, optim):
    recipe = {**classic, **LORA, "optim": optim, "max_steps": 2}
    runs("run", recipe)
    assert all(loss > 0 for *_, loss in runs.losses("run"))
    saved = runs.weights("run", "final/adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in saved.items() if ".lora_B." in name)


def test_a_missing_package_is_named_with_its_extra(runs, classic, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    for changes in ({**LORA, "bits": 4}, {"optim": "adamw_8bit"}):
        with pytest.raises(MissingExtraError, match=r"mustela\[quantization\]"):
            runs("run", {**classic, **changes})


@pytest.mark.slow
def test_the_plan_counts_packed_numbers(runs, classic):
    runs("run", {**classic, **LORA, "bits": 4}, ["--dry_run"])
    (four,) = (line for line in runs.console.splitlines() if line.strip().startswith("language_model"))
    runs("run", {**classic, **LORA}, ["--dry_run"])
    lines = [line for line in runs.console.splitlines() if line.strip().startswith("language_model")]
    assert lines == [four, four]
