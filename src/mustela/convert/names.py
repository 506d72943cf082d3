"""Names of tensors in checkpoints of Ferret, LLaVA and CLIP, and what they are called in ours."""

from __future__ import annotations

import re

__all__ = ["EMBEDDINGS", "adapter_module", "is_buffer", "our_name", "our_tower_name"]

EMBEDDINGS = "base.model.language_model.embed_tokens.weight"

_VISION = "base.model.vision_tower."
_LANGUAGE = "base.model.language_model."
_PROJECTOR = "base.model.multi_modal_projector."

_OLD_PROJECTOR = r"(?:model\.)?(?:mm_projector|multi_modal_projector)\."
_SAMPLER = r"(?:model\.)?region_geo_sampler\."

# First match wins. What adapters of PEFT put in front is stripped before.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?:model\.)?vision_tower\.(?:vision_tower\.)?(?:vision_model\.)?", _VISION),
        (rf"{_OLD_PROJECTOR}0\.", f"{_PROJECTOR}linear_1."),
        (rf"{_OLD_PROJECTOR}2\.", f"{_PROJECTOR}linear_2."),
        (_OLD_PROJECTOR, _PROJECTOR),
        (r"(?:model\.)?region_fea_adapter\.", "region_encoder.projection."),
        (rf"{_SAMPLER}diff_projector_list\.(\d+)\.", r"region_encoder.stages.\1.difference."),
        (rf"{_SAMPLER}agg_projector_list\.(\d+)\.net\.0\.", r"region_encoder.stages.\1.aggregate."),
        (rf"{_SAMPLER}agg_projector_list\.(\d+)\.norm\.", r"region_encoder.stages.\1.norm."),
        (rf"{_SAMPLER}flatten_projector\.", "region_encoder.flatten."),
        (rf"{_SAMPLER}dim_projector\.", "region_encoder.output."),
        (r"(?:language_model\.)?lm_head\.", "base.lm_head."),
        (r"(?:language_model\.model\.|model\.language_model\.|model\.)", _LANGUAGE),
    )
)
_ADAPTER = re.compile(r"^base_model\.model\.")
# Numbers that follow from the configuration and were saved by older versions of transformers.
_BUFFER = re.compile(r"(?:^|\.)(?:rotary_emb\.inv_freq|position_ids)$")
# What a folder of CLIP, or of another pair of encoders, holds beside its vision encoder.
_TEXT_SIDE = re.compile(r"^(?:text_model\.|text_projection\.|visual_projection\.|logit_scale|logit_bias)")
_LORA = re.compile(r"^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.\w+)?\.weight$")


def our_name(name: str) -> str:
    """Return our name of a tensor of a Ferret or LLaVA checkpoint; its own where none is known."""
    name = _ADAPTER.sub("", name)
    for pattern, replacement in _RULES:
        if (match := pattern.match(name)) is not None:
            return match.expand(replacement) + name[match.end() :]
    return name


def our_tower_name(name: str) -> str | None:
    """Return the name in our models of a tensor in a vision tower's own folder; None for its text side."""
    if _TEXT_SIDE.match(name):
        return None
    return our_name(f"vision_tower.{name}")


def is_buffer(name: str) -> bool:
    """Tell whether a tensor follows from the configuration, so that it needn't be read."""
    return _BUFFER.search(name) is not None


def adapter_module(name: str) -> tuple[str, str] | None:
    """Split the name of a LoRA factor into our name of the weight that it changes, and `A` or `B`."""
    match = _LORA.match(name)
    return None if match is None else (our_name(f"{match[1]}.weight"), match[2])
