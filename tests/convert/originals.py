"""Folders as Ferret and LLaVA ship them, with the tiny model whose numbers the original computed."""

from __future__ import annotations

import functools
import io
import json
import random
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceTrainer
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"
PREFIX = "model.vision_tower.vision_tower."
REGION = 511
Variant = Literal["geo", "mean"]
Files = Literal["bin", "bin shards", "safetensors", "safetensors shards"]


@functools.cache
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "tiny_model.safetensors")


@functools.cache
def facts() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / "tiny_model.json").read_text(encoding="utf-8"))
    return content


def numbers(kind: str, variant: Variant) -> dict[str, Tensor]:
    """Return the tensors `kind.*` of a variant, without that prefix."""
    found = {name: value for name, value in golden().items() if name.startswith(f"{kind}.")}
    if variant == "mean":
        found = {name: value for name, value in found.items() if "region_geo_sampler" not in name}
        found |= {
            name.removeprefix("adapter."): value
            for name, value in golden().items()
            if name.startswith(f"adapter.{kind}.")
        }
    return {name.removeprefix(f"{kind}."): value for name, value in found.items()}


@functools.cache
def tokenizer_model() -> bytes:
    """A sentencepiece model of 511 pieces."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(400)]
    lines = [" ".join(rng.choices(words, k=9)) for _ in range(600)]
    writer = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=writer, model_type="bpe", vocab_size=511,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        minloglevel=2,
    )  # fmt: skip
    return writer.getvalue()


def write_weights(folder: Path, state: dict[str, Tensor], files: Files, *, shards: int = 3) -> None:
    """Write a checkpoint in one of the ways that it may lie there."""
    suffix, stem = (".bin", "pytorch_model") if files.startswith("bin") else (".safetensors", "model")
    write: Any = torch.save if suffix == ".bin" else save_file
    state = {name: value.clone() for name, value in state.items()}
    if not files.endswith("shards"):
        write(state, folder / f"{stem}{suffix}")
        return
    names = list(state)
    places = {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05}-of-{shards:05}{suffix}"
        chosen = names[number::shards]
        write({name: state[name] for name in chosen}, folder / file)
        places |= dict.fromkeys(chosen, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))


def write_tokenizer(folder: Path, *, region: bool = True) -> None:
    (folder / "tokenizer.model").write_bytes(tokenizer_model())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    if region:
        (folder / "added_tokens.json").write_text(json.dumps({"<region_fea>": REGION}))


def language_config(**more: Any) -> dict[str, Any]:
    return {**facts()["config"], "model_type": "llama", **more}


def ferret_config(variant: Variant, **more: Any) -> dict[str, Any]:
    own = {"model_type": "ferret_llama", "architectures": ["FerretLlamaForCausalLM"]}
    regions = {"region_geo_sampler": variant == "geo", "region_fea_adapter": True}
    pooling = {"sampler_pooler_mode": "max"} if variant == "geo" else {}
    return {**facts()["config"], **own, **regions, **pooling, "mm_vision_tower": "openai/clip", **more}


def write_tower(folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write a CLIP vision tower's folder; without weights where the checkpoint holds them."""
    folder.mkdir(parents=True)
    config = {"model_type": "clip_vision_model", **facts()["vision_config"]}
    (folder / "config.json").write_text(json.dumps(config))
    if state is not None:
        save_file({name: value.clone() for name, value in state.items()}, folder / "model.safetensors")


def write_ferret(
    folder: Path,
    variant: Variant = "geo",
    *,
    files: Files = "bin shards",
    tower: Literal["in the checkpoint", "subfolder", "elsewhere"] = "in the checkpoint",
    state: dict[str, Tensor] | None = None,
) -> Path:
    """Write a Ferret folder with the tiny model."""
    folder.mkdir(parents=True, exist_ok=True)
    state = dict(numbers("state", variant) if state is None else state)
    vision = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    if tower != "in the checkpoint":
        state = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
    place = folder / "vision_tower" if tower != "elsewhere" else folder.with_name(f"{folder.name}-tower")
    write_tower(place, None if tower == "in the checkpoint" else vision)
    (folder / "config.json").write_text(json.dumps(ferret_config(variant)))
    write_tokenizer(folder)
    write_weights(folder, state, files)
    return folder


LANGUAGE = ("model.embed_tokens", "model.layers", "model.norm", "lm_head")


def is_language(name: str) -> bool:
    return name.startswith(LANGUAGE)


def same(folder: Path, reference: dict[str, Tensor], *, tolerance: float = 0.0) -> None:
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    assert found.keys() == reference.keys()
    for name, tensor in reference.items():
        torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=0, msg=lambda m, n=name: n + m)


def write_lora(folder: Path) -> tuple[Path, Path, dict[str, Tensor]]:
    """A LoRA folder on a base language model; returns both, and the weights that they make together."""
    whole = dict(numbers("state", "geo"))
    base = {name: value for name, value in whole.items() if is_language(name)}
    others = {
        f"base_model.model.{name}": v for name, v in whole.items() if "mm_proj" in name or "geo" in name
    }
    factors = {}
    for layer in (0, 1):
        for module in ("q_proj", "v_proj"):
            weight = f"model.layers.{layer}.self_attn.{module}.weight"
            a, b = torch.randn(4, 64) * 0.1, torch.randn(64, 4) * 0.1
            factors[f"base_model.model.{weight.replace('.weight', '.lora_A.weight')}"] = a
            factors[f"base_model.model.{weight.replace('.weight', '.lora_B.weight')}"] = b
            whole[weight] = base[weight] + 2.0 * b @ a
    vicuna, lora = folder / "vicuna", folder / "lora"
    vicuna.mkdir()
    lora.mkdir()
    (vicuna / "config.json").write_text(json.dumps(language_config()))
    write_weights(vicuna, base, "bin")
    torch.save(factors, lora / "adapter_model.bin")
    torch.save(others, lora / "non_lora_trainables.bin")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    (lora / "adapter_config.json").write_text(json.dumps(settings))
    (lora / "config.json").write_text(json.dumps(ferret_config("geo")))
    write_tokenizer(lora)
    vision = "model.vision_tower.vision_tower."
    tower = {name.removeprefix(vision): v for name, v in whole.items() if name.startswith(vision)}
    write_tower(lora / "vision_tower", tower)
    return lora, vicuna, whole


def answer(model: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([[1, *[512] * 16, 40, 511, 60, 7]])
    points = torch.rand(1, 512, 2, generator=generator)
    pixels = golden()["in.pixel_values"][:1]
    with torch.no_grad():
        logits: Tensor = model(
            input_ids=ids, pixel_values=pixels, region_points=points, region_image=torch.tensor([0])
        ).logits
    return logits[..., :512]
