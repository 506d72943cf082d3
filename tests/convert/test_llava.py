"""LLaVA folders in both public layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.convert.originals import (
    ferret_config,
    golden,
    write_ferret,
    write_tokenizer,
    write_tower,
    write_weights,
)
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from mustela.convert import convert_ferret, convert_llava
from mustela.errors import CheckpointError
from mustela.model import load_model
from mustela.model.settings import RegionSettings


def ready_llava(folder: Path) -> LlavaForConditionalGeneration:
    """A tiny LLaVA in transformers' own layout."""
    tiny = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=56, patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=520, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = LlavaConfig(text_config=text, vision_config=tiny, image_token_index=511, vision_feature_layer=-2)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    write_tokenizer(folder, region=False)
    (folder / "added_tokens.json").write_text(json.dumps({"<image>": 511}))
    return model


def llava_logits(model: torch.nn.Module, image_id: int) -> Tensor:
    ids = torch.tensor([[1, 30, *[image_id] * 16, 40, 60, 7]])
    pixels = golden()["in.pixel_values"][:1]
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, pixel_values=pixels).logits
    return logits


def test_llava_in_transformers_layout_computes_the_same(tmp_path: Path, parity) -> None:
    theirs = ready_llava(tmp_path / "llava")
    convert_llava(tmp_path / "llava", tmp_path / "ours")
    ours, processor = load_model(tmp_path / "ours", device="cpu")
    assert processor.image_token_id == 511
    assert (ours.config.region_token_id, ours.config.sampling_geometry) == (512, "aligned")
    assert processor.template.name == "vicuna_v1"
    largest = float((llava_logits(ours, 511) - llava_logits(theirs, 511)).abs().max())
    parity.add("LLaVA of transformers, converted: logits", cases=21, difference=largest)
    assert largest < 1e-5


def test_llava_in_the_authors_layout_is_the_same_model(tmp_path: Path) -> None:
    theirs = ready_llava(tmp_path / "llava")
    authors = tmp_path / "authors"
    authors.mkdir()
    renamed = {}
    for name, value in load_file(tmp_path / "llava" / "model.safetensors").items():
        name = name.removeprefix("language_model.")
        name = name.replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("vision_tower.", "model.vision_tower.vision_tower.vision_model.")
        # Those of the authors' tokenizer have no <image>.
        renamed[name] = value[:511] if name in ("model.embed_tokens.weight", "lm_head.weight") else value
    write_weights(authors, renamed, "bin shards")
    write_tokenizer(authors, region=False)
    write_tower(authors / "vision_tower")
    config = ferret_config("geo", model_type="llava_llama", vocab_size=511, mm_projector_type="mlp2x_gelu")
    for key in ("im_region_fea_token", "region_geo_sampler", "region_fea_adapter", "sampler_pooler_mode"):
        config.pop(key)
    (authors / "config.json").write_text(json.dumps(config))
    convert_llava(authors, tmp_path / "ours", regions=RegionSettings(encoder="mean"))
    ours, processor = load_model(tmp_path / "ours", device="cpu")
    found = llava_logits(ours, processor.image_token_id)
    torch.testing.assert_close(found[..., :511], llava_logits(theirs, 511)[..., :511], atol=1e-5, rtol=0)
    assert (found[..., 511:] == -torch.inf).all()
    assert ours.config.region_encoder == "mean"


def test_kinds_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    ready_llava(tmp_path / "llava")
    with pytest.raises(CheckpointError, match="mustela convert llava"):
        convert_ferret(tmp_path / "llava", tmp_path / "ours")
    with pytest.raises(CheckpointError, match="mustela convert ml-ferret"):
        convert_llava(write_ferret(tmp_path / "ferret"), tmp_path / "ours")
