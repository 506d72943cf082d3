"""Adapters: on every kind of base, several on one, and where layers get one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tests.model.tiny_parts import CLIP, LAYERS, LLAMA, TEXTS
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaForCausalLM,
)

from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import Adapter, adapter_tensors
from mustela.model.adapter_set import AdapterSet
from mustela.model.build import ClassicSettings, RegionSettings, build_classic
from mustela.model.loading import load_model
from mustela.model.lora import LoraSettings, attach_lora, choose_targets, lora_names
from mustela.model.merging import merge, merge_adapter
from mustela.model.parts import part_of
from mustela.model.tokens import train_tokenizer

SETTINGS = LoraSettings(r=4, alpha=8, dropout=0.0, dora=False, rslora=False, targets=())


def adapt(model, *, seed=0, **changes):
    """Give a model an adapter whose every number is another than at first, as if it had been trained."""
    settings = replace(SETTINGS, targets=choose_targets(model), **changes)
    attach_lora(model, settings)
    model.adapter = Adapter(model.origin, settings, None, shapes={})
    generator = torch.Generator().manual_seed(seed)
    own = dict(model.named_parameters())
    names = list(lora_names(model).values())
    names += [name for name in own if part_of(name) in ("projector", "region_encoder")]
    with torch.no_grad():
        for name in names:
            own[name].add_(torch.randn(own[name].shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture
def base(classic_pair, tmp_path):
    folder = tmp_path / "base"
    classic_pair.model.save_pretrained(folder)
    classic_pair.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def save(classic_pair):
    def write(model, folder):
        model.save_pretrained(folder)
        classic_pair.processor.save_pretrained(folder)
        with torch.no_grad():
            return model(**classic_pair.batch(classic_pair.four())).logits

    return write


def test_an_adapter_of_a_ready_base_is_loaded_and_merged(fresh_qwen, tmp_path):
    pair = fresh_qwen(tmp_path / "qwen")
    assert pair.model.origin.kind == "ready"
    added = pair.processor.tokenizer.convert_tokens_to_ids("<region_fea>")
    # The base has a row for each of its tokens, and none for the region's.
    assert pair.model.origin.rows == added
    batch = pair.batch(pair.four())
    model = adapt(pair.model, rows=(3, 5))
    with torch.no_grad():
        expected = model(**batch).logits
    model.save_pretrained(tmp_path / "adapter")
    pair.processor.save_pretrained(tmp_path / "adapter")
    again = type(model).from_pretrained(tmp_path / "adapter").eval()
    through_auto = AutoModelForImageTextToText.from_pretrained(tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(through_auto(**batch).logits, expected, atol=1e-5, rtol=1e-4)
        merge(again)
        torch.testing.assert_close(again(**batch).logits, expected, atol=1e-4, rtol=1e-4)
    assert again.adapter is None
    base = dict(AutoModelForImageTextToText.from_pretrained(tmp_path / "qwen").named_parameters())
    visual = [name for name in base if "visual" in name and "merger" not in name]
    assert visual
    assert all(torch.equal(again.get_parameter(f"base.{name}"), base[name]) for name in visual)


RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 12],
    "depths": [1, 1],
    "layer_type": "basic",
}


@pytest.mark.slow
def test_an_adapter_holds_what_batch_norms_have_counted(scratch, tmp_path):
    pair = scratch(regions=RegionSettings(encoder="mean", points=16, tower_size=32), region_tower=RESNET)
    pair.model.save_pretrained(tmp_path / "base")
    pair.processor.save_pretrained(tmp_path / "base")
    model = adapt(load_model(tmp_path / "base", device="cpu")[0])
    batch = pair.batch(pair.four())
    with torch.no_grad():
        before = model(**batch).logits
        model.train()(**batch)
        expected = model.eval()(**batch).logits
    assert not torch.allclose(expected, before, atol=1e-3)
    model.save_pretrained(tmp_path / "adapter")
    again = type(model).from_pretrained(tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_an_adapter_on_parts_holds_the_encoder_of_tiles(tmp_path, as_pair):
    """Neither the language model nor the vision tower that it rests on has it."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=330, control_tokens=["<unk>"], end_token="</s>")
    tokenizer.save_pretrained(tmp_path / "lm")
    LlamaForCausalLM(LlamaConfig(**LLAMA, vocab_size=len(tokenizer))).save_pretrained(tmp_path / "lm")
    CLIPVisionModel(CLIPVisionConfig(**CLIP)).save_pretrained(tmp_path / "clip")
    Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **LAYERS)).save_pretrained(tmp_path / "dino")
    for name in ("clip", "dino"):
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / name)
    classic = ClassicSettings(
        image_wh=(32, 32),
        image_aspect_ratio="anyres",
        image_grids="1x1, 2x1, 1x2",
        tile_tower=str(tmp_path / "dino"),
    )
    regions = RegionSettings(encoder="mean", points=16)
    built = build_classic(tmp_path / "lm", tmp_path / "clip", version="v1", regions=regions, classic=classic)
    pair = as_pair(*built)
    model = adapt(pair.model)
    batch = pair.batch(pair.four())
    assert "tile_pixel_values" in batch
    with torch.no_grad():
        expected = model(**batch).logits
    model.save_pretrained(tmp_path / "adapter")
    pair.processor.save_pretrained(tmp_path / "adapter")
    again, _ = load_model(tmp_path / "adapter", device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, expected, atol=1e-5, rtol=1e-4)


def test_several_adapters_take_turns_on_one_base(base, save, classic_pair, tmp_path):
    batch = classic_pair.batch(classic_pair.four())
    expected = {
        name: save(adapt(load_model(base, device="cpu")[0], seed=seed, **changes), tmp_path / name)
        for name, seed, changes in (
            ("one", 1, {"rows": (20, 30)}),
            ("two", 2, {}),
            ("dora", 3, {"dora": True}),
        )
    }
    adapters = AdapterSet({name: tmp_path / name for name in expected})
    for name in ("one", "two", "dora", "one", "two"):
        model, processor = adapters.use(name)
        with torch.no_grad():
            torch.testing.assert_close(model(**batch).logits, expected[name], atol=1e-5, rtol=1e-4)
        assert processor.settings == classic_pair.processor.settings
    with pytest.raises(ConfigError, match="no adapter 'three'; there are one, two, dora"):
        adapters.use("three")
    with pytest.raises(CheckpointError, match="those of an AdapterSet"):
        adapters.use("one")[0].save_pretrained(tmp_path / "again")


def test_adapters_of_different_bases_cannot_share_one(base, save, classic_pair, tmp_path):
    save(adapt(load_model(base, device="cpu")[0]), tmp_path / "one")
    other = load_model(base, device="cpu")[0]
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(2)
    other.save_pretrained(tmp_path / "other-base")
    classic_pair.processor.save_pretrained(tmp_path / "other-base")
    save(adapt(load_model(tmp_path / "other-base", device="cpu")[0]), tmp_path / "two")
    with pytest.raises(CheckpointError, match="of different bases"):
        AdapterSet({"one": tmp_path / "one", "two": tmp_path / "two"})


def test_what_an_adapter_does_not_touch_stays_the_same_bits_in_half_precision(base, save, tmp_path):
    half, processor = load_model(base, device="cpu", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    processor.save_pretrained(tmp_path / "half")
    save(adapt(load_model(tmp_path / "half", device="cpu")[0]), tmp_path / "adapter")
    merged = merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    one, other = (load_file(folder / "model.safetensors") for folder in (tmp_path / "half", merged))
    assert {tensor.dtype for tensor in other.values()} == {torch.bfloat16}
    same = {name for name in one if torch.equal(one[name], other[name])}
    assert {part_of(name) for name in one if name not in same} == {
        "language_model",
        "projector",
        "region_encoder",
    }
    assert all(name in same for name in one if "vision_tower" in name or "embed" in name or "head" in name)
    wide = merge_adapter(tmp_path / "adapter", tmp_path / "wide", dtype=torch.float32)
    assert {tensor.dtype for tensor in load_file(wide / "model.safetensors").values()} == {torch.float32}


@pytest.mark.slow
def test_embeddings_that_the_head_shares_stay_shared_when_merged(tmp_path):
    base, processor = load_model("shapes-base", device="cpu")
    model = adapt(base, rows=(40, 41))
    ids = torch.tensor([[40, 60, 41, 70, 40]])
    with torch.no_grad():
        expected = model(ids).logits
    model.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    # The packaged model is stored in half precision.
    merged = merge_adapter(tmp_path / "adapter", tmp_path / "merged", dtype=torch.float32)
    assert "base.lm_head.weight" not in load_file(merged / "model.safetensors")
    whole, _ = load_model(merged, device="cpu")
    assert whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    with torch.no_grad():
        torch.testing.assert_close(whole(ids).logits, expected, atol=1e-4, rtol=1e-4)
        untouched, _ = load_model("shapes-base", device="cpu")
        assert (untouched(ids).logits - expected).abs().max() > 1e-2


def test_a_folder_that_is_taken_and_one_without_an_adapter_are_refused(base, save, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no adapter to merge: looked for adapter\.json"):
        merge_adapter(base, tmp_path / "out")
    save(adapt(load_model(base, device="cpu")[0]), tmp_path / "adapter")
    with pytest.raises(ConfigError, match="isn't empty"):
        merge_adapter(tmp_path / "adapter", base)


def test_the_head_that_shares_the_embeddings_gets_no_adapter(base, tmp_path):
    model, _ = load_model(base, device="cpu")
    model.base.config.tie_word_embeddings = True
    with pytest.raises(ConfigError, match="shares its weights with the embeddings"):
        attach_lora(model, replace(SETTINGS, targets=("base.lm_head",)))


def test_numbers_that_are_not_finite_are_not_merged(base, save, tmp_path):
    model = adapt(load_model(base, device="cpu")[0])
    name = next(name for name in lora_names(model).values() if "lora_B" in name)
    with torch.no_grad():
        model.get_parameter(name)[0] = float("nan")
    save(model, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=name.partition(".lora_B")[0].replace(".", r"\.")):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged")


@pytest.mark.parametrize(
    ("patterns", "count", "parts"),
    [
        ([], 14, ["language_model"]),
        (["q_proj", "v_proj"], 4, ["language_model"]),
        (["mlp\\..*"], 6, ["language_model"]),
        (["layers.0.self_attn.(q|k)_proj"], 2, ["language_model"]),
        (["base\\.model\\.vision_tower\\..*q_proj"], 2, ["vision_tower"]),
        (["q_proj", "base\\.model\\.multi_modal_projector.*"], 3, ["language_model", "projector"]),
        (["base.lm_head"], 1, ["language_model"]),
    ],
    ids=str,
)
def test_layers_by_pattern(classic_pair, patterns, count, parts):
    targets = choose_targets(classic_pair.model, patterns)
    assert len(targets) == count
    assert sorted({part_of(f"{name}.") for name in targets}) == parts


def test_new_rows_are_those_behind_the_base(base):
    model = adapt(load_model(base, device="cpu")[0])
    tensors = adapter_tensors(model, replace(model.adapter, origin=replace(model.origin, rows=300)))
    rows = model.get_input_embeddings().weight.shape[0] - 300
    assert tensors["new_rows.embedding"].shape == (rows, 32)
    assert tensors["new_rows.head"].shape == (rows, 32)
    assert not any(name.startswith("new_rows") for name in adapter_tensors(model, model.adapter))


@pytest.mark.parametrize("samples", [slice(0, 4), slice(0, 1)], ids=["mixture", "text"])
def test_checkpointing_behind_frozen_embeddings_gives_adapters_the_same_gradients(
    base, classic_pair, samples
):
    model = adapt(load_model(base, device="cpu")[0]).train()
    for name, parameter in model.named_parameters():
        if part_of(name) in ("projector", "region_encoder"):
            parameter.requires_grad_(True)
    batch = classic_pair.batch(classic_pair.four()[samples])
    found = []
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        model(**batch).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
        model.activation_checkpointing_enable()
    plain, checkpointed = found
    assert not any("embed_tokens" in name for name in plain)
    for name, gradient in plain.items():
        assert gradient.isfinite().all()
        if part_of(name) == "language_model" or samples.stop == 4:
            assert gradient.any(), name
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-5, rtol=1e-4)
