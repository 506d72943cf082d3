"""Runs with low-rank adapters: what learns, what is saved, what is the same."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mustela.errors import CheckpointError, ConfigError, MustelaError
from mustela.infer import Predictor
from mustela.model import MustelaForConditionalGeneration
from mustela.model.loading import load_model
from mustela.model.merging import merge_adapter
from mustela.train.trainer import MustelaTrainer

LORA = {"lora_enable": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
TENSORS = "final/adapter_model.safetensors"


@pytest.fixture
def lora(classic):
    """Adapters on the classic composition, with marks of pictures whose rows learn."""
    return {**classic, **LORA, "tune_mm_mlp_adapter": False, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory, scratch, runs_in):
    """A model of mustela with tied embeddings, `base`, and a trained adapter, `run`; not to be changed."""
    runs = runs_in(tmp_path_factory.mktemp("adapters"))
    runs("base", scratch, ["--max_steps", 1])
    runs("run", recipe_on(runs.root / "base", scratch))
    return runs


def recipe_on(base, scratch):
    recipe = {name: value for name, value in scratch.items() if name not in ("from_scratch", "version")}
    model = {"model_name_or_path": str(base / "final"), "version": "auto"}
    return {**recipe, **LORA, **model, "learning_rate": 1e-2}


@pytest.fixture
def on_base(on_disk, scratch):
    """A recipe of adapters on that model."""
    return recipe_on(on_disk.root / "base", scratch)


@pytest.fixture
def copied(on_disk, runs):
    """Copies of both, to be changed."""
    for name in ("base", "run"):
        shutil.copytree(on_disk.root / name, runs.root / name)
    return runs


def logits(model, processor):
    text = processor.tokenizer("What is this? A red star.", return_tensors="pt")["input_ids"]
    size = model.config.base_config.vision_config.image_size
    pixels = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    count = model.config.base_config.image_tokens
    image = torch.full((1, count), processor.image_token_id)
    with torch.no_grad():
        return model(torch.cat([image, text], 1), pixel_values=pixels).logits


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_adapters_rows_projector_and_region_encoder_learn_and_are_saved(runs, lora, parts_on_disk):
    runs("run", lora)
    saved = runs.weights("run", TENSORS)
    kinds = {
        "lora": [name for name in saved if ".lora_" in name],
        "rows": [name for name in saved if "trainable_tokens_delta" in name],
        "projector": [name for name in saved if "multi_modal_projector" in name],
        "regions": [name for name in saved if name.startswith("region_encoder.")],
        "new": [name for name in saved if name.startswith("new_rows.")],
    }
    assert sum(map(len, kinds.values())) == len(saved)
    assert all(kinds.values())
    # All linear layers of the language model, and of nothing else.
    assert len(kinds["lora"]) == 2 * 2 * 7
    assert all(".language_model.layers." in name for name in kinds["lora"])
    (rows,) = (saved[name] for name in kinds["rows"])
    assert rows.shape == (2, 32)
    model, processor = load_model(runs.root / "run", device="cpu")
    assert model.adapter.lora.rows == tuple(
        processor.tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>"])
    )
    for name in kinds["lora"]:
        if ".lora_B." in name:
            assert saved[name].any(), name
    assert not (runs.root / "run" / "final" / "model.safetensors").exists()
    # So do checkpoints, before the end.
    checkpoint = runs.root / "run" / "checkpoint-4"
    assert not (checkpoint / "model.safetensors").exists()
    kept = load_file(checkpoint / "trained.safetensors")
    assert len(kept) == len(saved) - len(kinds["new"])


@pytest.mark.parametrize("init", ["default", pytest.param("pissa_fast", marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_unbroken_one(runs, lora, init):
    recipe = {**lora, "lora_init": init}
    runs("unbroken", recipe)
    runs.interrupted("resumed", recipe, at=3)
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same(runs.weights("resumed", TENSORS), runs.weights("unbroken", TENSORS))


@pytest.mark.parametrize(
    "flags",
    [
        {"lora_use_dora": True},
        {"lora_init": "pissa_fast", "lora_use_rslora": True},
        pytest.param({"lora_use_rslora": True, "lora_bias": "lora_only"}, marks=pytest.mark.slow),
        pytest.param({"lora_init": "pissa"}, marks=pytest.mark.slow),
        pytest.param(
            {"freeze_vision_tower": False, "lora_target_modules": ["q_proj", "v_proj"]},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda flags: "+".join(flags),
)
def test_what_is_merged_and_what_is_loaded_equal_what_was_trained(runs, on_base, flags, monkeypatch):
    live = {}

    def keep(trainer, *args, **kwargs):
        live["model"] = trainer.model
        return evaluate(trainer, *args, **kwargs)

    evaluate = MustelaTrainer.train_from
    monkeypatch.setattr(MustelaTrainer, "train_from", keep)
    runs("run", {**on_base, **flags})
    final = runs.root / "run" / "final"
    model, processor = load_model(final, device="cpu")
    expected = logits(live["model"].eval(), processor)
    torch.testing.assert_close(logits(model, processor), expected, atol=1e-5, rtol=1e-4)
    merged = merge_adapter(final, runs.root / "merged")
    whole, _ = load_model(merged, device="cpu")
    torch.testing.assert_close(logits(whole, processor), expected, atol=1e-4, rtol=1e-4)
    assert whole.adapter is None


def test_merging_leaves_what_was_not_trained_the_same_bits(copied):
    runs = copied
    merge_adapter(runs.root / "run", runs.root / "merged")
    base, merged = runs.weights("base"), load_file(runs.root / "merged" / "model.safetensors")
    assert base.keys() == merged.keys()
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    adapted = {name for name in base if ".language_model.layers." in name and "proj" in name}
    assert adapted <= changed
    assert all("projector" in name or name.startswith("region_encoder.") for name in changed - adapted)
    assert not any("vision_tower" in name or "embed_tokens" in name for name in changed)
    # The head shares the embeddings, as in the base, which isn't needed any more.
    shutil.rmtree(runs.root / "base")
    model, _ = load_model(runs.root / "merged", device="cpu")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    learned = runs.weights("run", TENSORS)
    for name, tensor in learned.items():
        if ".lora_" not in name:
            assert torch.equal(merged[name], tensor), name


def test_the_name_and_place_of_an_adapter_do_not_matter(copied, tmp_path):
    runs = copied
    final = runs.root / "run" / "final"
    expected = logits(*load_model(final, device="cpu"))
    for place in (tmp_path / "xyz" / "run1", tmp_path / "not-lora-llava-really"):
        shutil.copytree(final, place)
        assert torch.equal(logits(*load_model(place, device="cpu")), expected)
        assert torch.equal(
            logits(MustelaForConditionalGeneration.from_pretrained(place).eval(), load_model(place)[1]),
            expected,
        )
    # Where nothing is at the base's first place, it is looked for beside the adapter; then it moves alone.
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(runs.root / "base", moved / "base")
    shutil.move(runs.root / "run", moved / "run")
    file = moved / "run" / "final" / "adapter.json"
    content = json.loads(file.read_text("utf-8"))
    content["base"]["model"]["name"] = str(tmp_path / "gone" / "base" / "final")
    file.write_text(json.dumps(content), encoding="utf-8")
    assert torch.equal(logits(*load_model(moved / "run", device="cpu")), expected)
    shutil.move(moved / "base", tmp_path / "base-again")
    with pytest.raises(CheckpointError, match=r"is an adapter of .*base/final, which isn't there.*--base"):
        load_model(moved / "run", device="cpu")
    base = tmp_path / "base-again" / "final"
    assert torch.equal(logits(*load_model(moved / "run", device="cpu", base=base)), expected)
    predictor = Predictor.from_pretrained(moved / "run", device="cpu", base=base)
    assert torch.equal(logits(predictor.model, predictor.processor), expected)
    with pytest.raises(ConfigError, match="needs no base"):
        load_model(base, device="cpu", base=base)


@pytest.mark.slow
def test_another_base_is_refused(copied, scratch):
    runs = copied
    other = {**scratch, "seed": 1}
    runs("same-shape", other, ["--max_steps", 1])
    with pytest.raises(CheckpointError, match="trained on another model"):
        load_model(runs.root / "run", device="cpu", base=runs.root / "same-shape")
    other["from_scratch"] = {**other["from_scratch"], "tokenizer": {"vocab_size": 320}}
    runs("other", other, ["--max_steps", 1])
    sizes = [
        load_model(runs.root / name)[0].config.get_text_config().vocab_size for name in ("base", "other")
    ]
    with pytest.raises(CheckpointError, match=rf"base with {sizes[0]} tokens.* has {sizes[1]}"):
        load_model(runs.root / "run", device="cpu", base=runs.root / "other")
    with pytest.raises(CheckpointError, match="is an adapter itself"):
        load_model(runs.root / "run", device="cpu", base=runs.root / "run")


@pytest.mark.parametrize("damage", ["missing", "empty", "shape", "no file", "format"])
def test_a_tensor_that_is_missing_empty_or_of_another_shape_is_named(copied, damage):
    runs = copied
    file = runs.root / "run" / TENSORS
    tensors = load_file(file)
    name = next(name for name in tensors if ".lora_B." in name)
    expected = {
        "missing": f"lacks {name}",
        "empty": f"{name} is empty",
        "shape": name,
        "no file": "can't be read as safetensors",
        "format": "format 9",
    }
    if damage == "missing":
        del tensors[name]
    elif damage in ("empty", "shape"):
        tensors[name] = torch.zeros(0) if damage == "empty" else torch.zeros(3, 3)
    save_file(tensors, file)
    if damage == "no file":
        file.unlink()
    elif damage == "format":
        description = file.with_name("adapter.json")
        content = json.loads(description.read_text("utf-8"))
        description.write_text(json.dumps({**content, "format": 9}), encoding="utf-8")
    for use in (load_model, lambda path: merge_adapter(path, runs.root / "merged")):
        with pytest.raises(CheckpointError) as caught:
            use(runs.root / "run")
        assert expected[damage] in str(caught.value)
    assert not (runs.root / "merged").exists()


def test_an_empty_tensor_is_not_saved(runs, on_base, monkeypatch):
    whole = MustelaTrainer.train_from

    def emptied(trainer, checkpoint):
        loss = whole(trainer, checkpoint)
        next(trainer.model.region_encoder.parameters()).data = torch.zeros(0)
        return loss

    monkeypatch.setattr(MustelaTrainer, "train_from", emptied)
    with pytest.raises(CheckpointError, match="is empty here: it is sharded"):
        runs("run", on_base)
    assert not (runs.root / "run" / "final").exists()


def test_the_rows_of_new_tokens_come_back_bit_for_bit(runs, lora, parts_on_disk):
    before = load_file(parts_on_disk[0] / "model.safetensors")
    runs("run", lora)
    model, processor = load_model(runs.root / "run", device="cpu")
    again, _ = load_model(runs.root / "run", device="cpu")
    tokens = ["<im_patch>", "<region_fea>", "<im_start>", "<im_end>", "<image>"]
    ids = processor.tokenizer.convert_tokens_to_ids(tokens)
    assert ids == list(range(ids[0], ids[0] + 5))
    assert processor.tokenizer("<region_fea>", add_special_tokens=False)["input_ids"] == [ids[1]]
    assert torch.equal(model.get_input_embeddings().weight[ids], again.get_input_embeddings().weight[ids])
    rows = load_file(runs.root / "run" / TENSORS)
    assert torch.equal(model.get_input_embeddings().weight[ids[0]], rows["new_rows.embedding"][0])
    delta = next(tensor for name, tensor in rows.items() if "delta" in name)
    assert torch.equal(model.get_input_embeddings().weight[ids[2:4]], delta)
    assert not torch.equal(rows["new_rows.embedding"][2:4], delta)
    assert same(load_file(parts_on_disk[0] / "model.safetensors"), before)
    merge_adapter(runs.root / "run", runs.root / "merged")
    whole, _ = load_model(runs.root / "merged", device="cpu")
    torch.testing.assert_close(logits(whole, processor), logits(model, processor), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_training_goes_on_from_an_adapter(runs, on_base):
    runs("first", on_base)
    recipe = {**on_base, "model_name_or_path": str(runs.root / "first" / "final")}
    runs("second", recipe, ["--learning_rate", 0])
    assert same(runs.weights("first", TENSORS), runs.weights("second", TENSORS))
    by_path = {**on_base, "lora_weight_path": str(runs.root / "first" / "final")}
    runs("third", by_path, ["--learning_rate", 0])
    assert same(runs.weights("first", TENSORS), runs.weights("third", TENSORS))
    with pytest.raises(ConfigError, match=r"--lora_r 4 --lora_alpha 8 --lora_dropout 0\.1"):
        runs("other", recipe, ["--lora_r", 8])
    # Without adapters it is merged and trains whole.
    whole = {**recipe, "lora_enable": False}
    runs("whole", whole, ["--learning_rate", 0])
    one, other = (load_model(runs.root / name, device="cpu") for name in ("first", "whole"))
    torch.testing.assert_close(logits(*one), logits(*other), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_stages_go_on_with_adapters_and_keep_their_base(runs, scratch, shapes):
    stages = [
        {"name": "whole", "max_steps": 1},
        {"name": "refer", "max_steps": 2, **LORA},
        {"name": "mix", "data_path": [str(shapes / "train.json")], "max_steps": 2, **LORA},
    ]
    recipe = {**scratch, "stages": stages}
    runs("unbroken", recipe)
    assert {path.name for path in (runs.root / "unbroken").glob("stage-*")} == {
        "stage-1-whole",
        "stage-3-mix",
    }
    runs.interrupted("resumed", recipe, at=1, stage="mix")
    runs("resumed", recipe)
    assert runs.losses("resumed") == runs.losses("unbroken")
    assert same(runs.weights("resumed", TENSORS), runs.weights("unbroken", TENSORS))
    # The whole run moves with its base inside.
    shutil.move(runs.root / "unbroken", runs.root / "moved")
    load_model(runs.root / "moved", device="cpu")


@pytest.mark.slow
def test_half_precision_adapters_have_half_the_size(runs, on_base):
    runs("run", on_base, ["--bf16"])
    tensors = runs.weights("run", TENSORS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    size = (runs.root / "run" / TENSORS).stat().st_size
    assert size < 1.05 * 2 * sum(tensor.numel() for tensor in tensors.values()) + 20_000
    kept = load_file(runs.root / "run" / "checkpoint-4" / "trained.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from_scratch": True, **LORA}, "lora_enable: a model from nothing"),
        ({"bits": 4}, "quantised weights can't learn; add --lora_enable"),
        ({"lora_weight_path": "x"}, "add --lora_enable"),
        ({**LORA, "tune_mm_mlp_adapter": True}, "choose one"),
        ({**LORA, "lora_init": "pissa", "bits": 8}, "lora_init pissa .* bits 8"),
        ({**LORA, "lora_init": "pissa", "lora_use_dora": True}, "lora_init pissa .* lora_use_dora"),
        ({**LORA, "lora_r": 0}, "lora_r is 0"),
        ({**LORA, "lora_weight_path": "."}, "holds no adapter of mustela"),
        (
            {**LORA, "stages": [{"name": "a", "lora_init": "pissa"}, {"name": "b"}]},
            "Stage b goes on .* --lora_r 8 --lora_alpha 16",
        ),
        (
            {**LORA, "stages": [{"name": "a"}, {"name": "b", "lora_target_modules": ["v_proj"]}]},
            "for fresh ones",
        ),
        ({**LORA, "lora_target_modules": ["("]}, "is no regular expression"),
        ({**LORA, "lora_target_modules": ["attention.wq"]}, "matches no linear layer"),
        ({**LORA, "lora_target_modules": ["region_encoder.*"]}, "the region_encoder trains whole"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_settings_that_do_not_go_together(runs, classic, scratch, changes, message):
    recipe = {**classic, "tune_mm_mlp_adapter": False, **changes}
    if changes.get("from_scratch"):
        recipe = {**scratch, **LORA}
    with pytest.raises(MustelaError, match=message):
        runs("run", recipe)


@pytest.mark.slow
def test_the_best_checkpoint_is_found_again(runs, on_base, shapes):
    flags = ["--eval_data_path", shapes / "val.json", "--eval_strategy", "steps", "--eval_steps", 1]
    # Losses fall from step to step, so that the highest isn't the last.
    recipe = {**on_base, "save_steps": 1, "metric_for_best_model": "eval_loss", "greater_is_better": True}
    runs("run", {**recipe, "load_best_model_at_end": True}, flags)
    best = max((line for line in runs.log("run") if "eval_loss" in line), key=lambda line: line["eval_loss"])
    kept = runs.weights("run", f"checkpoint-{best['step']}/trained.safetensors")
    saved = runs.weights("run", TENSORS)
    assert best["step"] < 4
    assert all(torch.equal(kept[name], saved[name]) for name in kept if name in saved)


def test_a_dry_run_counts_what_learns(runs, on_base):
    runs("run", on_base, ["--dry_run"])
    (line,) = (line for line in runs.console.splitlines() if line.strip().startswith("language_model"))
    # 2 layers: 4 x (32 + 32) + 3 x (32 + 48), of rank 4.
    assert line.split()[-1] == f"{2 * 4 * (4 * 64 + 3 * 80):,}"
