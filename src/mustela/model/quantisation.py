"""Quantised bases through bitsandbytes: language-model layers in 4 or 8 bits, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedConfig

from mustela.errors import require
from mustela.model.modeling import MustelaForConditionalGeneration

# Modules that keep their numbers, under the names that transformers' models and ours have for them.
UNQUANTISED = (
    "lm_head", "region_encoder", "multi_modal_projector", "vision_tower", "vision_model", "visual",
    "tile_tower", "tile_projector", "newline", "region_tower", "region_join",
)  # fmt: skip


@dataclass(frozen=True)
class Quantisation:
    """How the language model's linear layers are stored.

    Attributes:
        bits: 4 or 8 (LLM.int8).
        quant_type: kind of 4-bit numbers.
        double_quant: store the constants of 4-bit blocks in 8 bits.
        compute_dtype: numbers that 4-bit layers calculate with.
    """

    bits: Literal[4, 8]
    quant_type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = True
    compute_dtype: torch.dtype = torch.float32

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "compute_dtype": str(self.compute_dtype).removeprefix("torch.")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Quantisation:
        """Read what `to_json` wrote."""
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        return cls(**{**content, "compute_dtype": dtypes[content["compute_dtype"]]})


def loading_options(quantisation: Quantisation | None, *, device: str | torch.device) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that quantise while loading; none without quantisation.

    Raises:
        MissingExtraError: bitsandbytes isn't installed or can't be loaded.
    """
    if quantisation is None:
        return {}
    require("bitsandbytes", extra="quantization")
    config = BitsAndBytesConfig(
        load_in_4bit=quantisation.bits == 4,
        load_in_8bit=quantisation.bits == 8,
        bnb_4bit_quant_type=quantisation.quant_type,
        bnb_4bit_use_double_quant=quantisation.double_quant,
        bnb_4bit_compute_dtype=quantisation.compute_dtype,
        # Wherever in a model they lie.
        llm_int8_skip_modules=[rf"(?:.*\.)?{name}" for name in UNQUANTISED],
    )
    # Quantised layers can't all change their device afterwards.
    placed = {} if torch.device(device).type == "cpu" else {"device_map": {"": torch.device(device)}}
    return {"quantization_config": config, **placed}


def mark_quantised(model: MustelaForConditionalGeneration, loaded: Any) -> None:
    """Let a model with quantised layers say what the trainer asks, and its configuration nothing of it.

    What is saved from a quantised run is not quantised, and must not be loaded as if it were.

    Args:
        model: the model.
        loaded: the model itself, or the part of it that transformers loaded and quantised.
    """
    model.is_quantized = True
    model.hf_quantizer = loaded.hf_quantizer
    model.quantization_method = loaded.quantization_method
    _forget(model.config)


def keep_trainable(model: nn.Module) -> None:
    """Keep 4-bit layers on a CPU in the form that gradients pass through.

    Where a CPU has the instructions for it, bitsandbytes packs a layer for good when it first answers without
    gradients, as in an evaluation. A packed layer gives the layers before it no gradient, silently.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _forget(config: PreTrainedConfig) -> None:
    config.__dict__.pop("quantization_config", None)
    for name in config.sub_configs:
        part = config.__dict__.get(name)
        if isinstance(part, PreTrainedConfig):
            _forget(part)
