"""Models of random numbers in the shapes that `bench_gpu.py` measures.

`1b` has the shape of Llama 3.2 1B and `7b` that of Vicuna 7B, both with CLIP ViT-L/14 at 336 pixels, frozen,
and the region encoder `geo`. With `full`, all weights have 32 bits; with `lora`, frozen ones 16, and adapters
of rank 64 learn beside projector and region encoder.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from mustela.data.processor import MustelaProcessor
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import ClassicSettings, RegionSettings, build_stand_in
from mustela.model.lora import LoraSettings, attach_lora, choose_targets
from mustela.model.parts import part_of
from mustela.train.kernels import use_liger_kernels

CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}


@dataclass(frozen=True)
class Size:
    """A model's shape, samples in a batch, and whether activations are checkpointed."""

    language_model: dict[str, Any]
    vision_tower: dict[str, Any]
    batch: int
    checkpointing: bool = False


SIZES = {
    "tiny": Size(
        {
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 2000,
            "max_position_embeddings": 4096,
        },
        CLIP | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2},
        batch=2,
    ),
    "1b": Size(
        {
            "model_type": "llama",
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
            "vocab_size": 128_256,
            "max_position_embeddings": 4096,
        },
        CLIP,
        batch=16,
    ),
    "7b": Size(
        {
            "model_type": "llama",
            "hidden_size": 4096,
            "intermediate_size": 11_008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 32_000,
            "max_position_embeddings": 4096,
        },
        CLIP,
        batch=16,
        checkpointing=True,
    ),
}
WAYS = ("lora", "full")
RANK, ALPHA = 64, 16
# Bytes a weight: numbers, gradient, two of Adam; of frozen ones the number.
LEARNING, FROZEN = 16, 2


def packages() -> dict[str, bool]:
    """Say which optional kernels are there."""
    return {name: importlib.util.find_spec(name) is not None for name in ("flash_attn", "liger_kernel")}


def bytes_needed(size: Size, way: str) -> float:
    """Return the bytes of weights, gradients and optimizer, from shapes alone."""
    with torch.device("meta"):
        model, _ = make(size, way)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - learning
    return LEARNING * learning + (FROZEN if way == "lora" else 4) * frozen


def make(size: Size, way: str) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Make a model of random numbers on torch's default device, with what learns set."""
    texts = ["What is this? a red car near the old wooden door [1, 23, 456, 789] USER: ASSISTANT:"] * 20
    model, processor = build_stand_in(
        size.language_model,
        size.vision_tower,
        texts,
        version="v1",
        regions=RegionSettings(encoder="geo"),
        classic=ClassicSettings(image_wh=(336, 336), projector_type="mlp2x_gelu", select_layer=-2),
        dtype=torch.bfloat16 if way == "lora" else torch.float32,
    )
    if way == "lora":
        targets = choose_targets(model)
        attach_lora(model, LoraSettings(RANK, ALPHA, 0.0, dora=False, rslora=False, targets=targets))
    for name, parameter in model.named_parameters():
        part = part_of(name)
        learns = part in ("projector", "region_encoder") or (part == "language_model" and way == "full")
        parameter.requires_grad_(learns or (parameter.requires_grad and "lora_" in name))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model, processor


def prepare(model: MustelaForConditionalGeneration, size: Size, found: dict[str, bool]) -> None:
    """Use what is installed, as a training does."""
    if found["flash_attn"]:
        model.set_attn_implementation("flash_attention_2")
    if found["liger_kernel"]:
        use_liger_kernels(model)
    if size.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
