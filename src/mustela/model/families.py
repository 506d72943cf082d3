"""Families of bases: one entry for each kind of model that mustela gives regions to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from mustela.errors import ConfigError
from mustela.model import family_blanks as blanks
from mustela.model import family_grids as grids
from mustela.model.classic import ClassicModel
from mustela.model.classic_config import ClassicConfig
from mustela.model.family import Family
from mustela.model.grids import FeatureGrids
from mustela.model.plain_family import PLAIN, why_not_plain

__all__ = ["FAMILIES", "REFUSED", "family_of"]


def _classic_grids(_model: ClassicModel, outputs: Any, _inputs: Mapping[str, Tensor]) -> FeatureGrids:
    found: FeatureGrids = outputs["region_grids"]
    return found


def _classic_blank(config: ClassicConfig) -> dict[str, Tensor]:
    vision: Any = config.vision_config
    picture = torch.zeros(1, vision.num_channels, vision.image_size, vision.image_size)
    if config.tile_order is None:
        return {"pixel_values": picture}
    side = int(vision.image_size)
    return {
        "pixel_values": picture,
        "tile_pixel_values": picture.expand(2, -1, -1, -1),
        "image_tiles": torch.tensor([[1, 2]]),
        "image_content": torch.tensor([[0, 0, 2 * side, side]]),
    }


def _vision_width(config: Any) -> int:
    return int(config.vision_config.hidden_size)


_LAYOUT = ("image_tiles", "image_content")
_LAYERS = "the vision layers that the projector reads"
_LAST = "the last vision layer, before merging"

_LLAVA = Family(
    image_inputs=("pixel_values",),
    optional_inputs=("image_sizes",),
    channels=grids.layer_channels,
    grids=grids.layer_grids,
    blank=blanks.square,
    title="LLaVA-1.5, Pixtral",
    reads=_LAYERS,
    tested="CLIP and Pixtral towers",
    coordinates="unit",
)
_LLAVA_NEXT = Family(
    image_inputs=("pixel_values", "image_sizes"),
    layout_inputs=_LAYOUT,
    channels=grids.layer_channels,
    grids=grids.layer_tile_grids,
    blank=blanks.pinpoints,
    title="LLaVA-NeXT (LLaVA-1.6)",
    reads=f"{_LAYERS}: joined tiles plus the overview",
    tested="a CLIP tower, one to four tiles",
    coordinates="unit",
)
_QWEN = Family(
    image_inputs=("pixel_values", "image_grid_thw"),
    position_inputs=("image_grid_thw", "mm_token_type_ids"),
    channels=_vision_width,
    grids=grids.window_grids,
    blank=blanks.windows,
    title="Qwen3-VL",
    reads=_LAST,
    tested="native resolution",
    coordinates="json",
)
_GLM = replace(
    _QWEN,
    channels=lambda config: int(config.vision_config.out_hidden_size),
    grids=grids.merged_grids,
    title="GLM-4.1V",
    reads="merged vision features, before the projector",
    coordinates="bins",
)
_IDEFICS = Family(
    image_inputs=("pixel_values",),
    optional_inputs=("pixel_attention_mask",),
    layout_inputs=_LAYOUT,
    channels=_vision_width,
    grids=grids.last_layer_tile_grids,
    blank=blanks.nested_tile,
    title="Idefics3",
    reads=f"{_LAST}: joined tiles plus the overview",
    tested="pictures with and without tiles",
)
_GEMMA = Family(
    image_inputs=("pixel_values",),
    channels=_vision_width,
    grids=grids.last_layer_grids,
    blank=blanks.square,
    title="Gemma 3",
    reads=_LAST,
    tested="square pictures",
)

FAMILIES: dict[str, Family] = {
    "mustela_classic": Family(
        image_inputs=("pixel_values",),
        optional_inputs=("image_tiles", "image_content", "tile_pixel_values", "image_maps"),
        channels=lambda config: int(config.region_width),
        grids=_classic_grids,
        blank=_classic_blank,
        title="a language model and a --vision_tower",
        reads="the tower's mm_vision_select_layer; with tiles joined tiles and overview",
        tested="CLIP, SigLIP and DINOv2 towers with Llama, Qwen3 and Gemma language models",
    ),
    "llava": _LLAVA,
    "vipllava": replace(_LLAVA, optional_inputs=(), title="ViP-LLaVA", tested="a CLIP tower, several layers"),
    "llava_next": _LLAVA_NEXT,
    "llava_onevision": replace(
        _LLAVA_NEXT, title="LLaVA-OneVision", tested="a SigLIP tower, one to four tiles"
    ),
    "qwen2_vl": replace(_QWEN, title="Qwen2-VL", coordinates="corners"),
    "qwen2_5_vl": replace(_QWEN, title="Qwen2.5-VL", grids=grids.shuffled_window_grids, coordinates="pixels"),
    "qwen3_vl": _QWEN,
    "qwen3_5": replace(_QWEN, title="Qwen3.5"),
    "glm4v": _GLM,
    "glm46v": replace(_GLM, title="GLM-4.6V"),
    "idefics3": _IDEFICS,
    "smolvlm": replace(_IDEFICS, title="SmolVLM, SmolVLM2"),
    "paligemma": replace(_GEMMA, title="PaliGemma, PaliGemma 2", coordinates="tokens", template="paligemma"),
    "gemma3": _GEMMA,
    "gemma4": Family(
        image_inputs=("pixel_values", "image_position_ids"),
        position_inputs=("mm_token_type_ids",),
        channels=_vision_width,
        grids=grids.pooled_grids,
        blank=blanks.positions,
        title="Gemma 4",
        reads="pooled vision features, before the projector",
        tested="native resolution",
        coordinates="json_yx",
    ),
    "internvl": Family(
        image_inputs=("pixel_values",),
        layout_inputs=_LAYOUT,
        channels=_vision_width,
        grids=grids.layer_tile_grids_overview_last,
        blank=blanks.tile,
        title="InternVL 3, 3.5 (the -hf ones)",
        reads=f"{_LAST}: joined tiles plus the overview",
        tested="pictures with and without tiles",
    ),
    "molmo2": Family(
        image_inputs=("pixel_values", "image_token_pooling", "image_grids"),
        position_inputs=("mm_token_type_ids",),
        layout_inputs=("image_num_crops",),
        channels=lambda config: int(config.text_config.hidden_size),
        grids=grids.pooled_crop_grids,
        blank=blanks.crops,
        prepare=grids.number_patches,
        title="Molmo 2",
        reads="image tokens of the canvas of crops, behind the projector",
        tested="overlapping crops, with a processor that does what its own, in torchvision, does",
    ),
    "mistral3": Family(
        image_inputs=("pixel_values", "image_sizes"),
        channels=grids.layer_channels,
        grids=grids.native_grids,
        blank=blanks.native,
        title="Mistral Small 3.1",
        reads=_LAYERS,
        tested="native resolution",
    ),
}


# Why some kinds can't have regions, or can't yet.
_QUERIES = "its image tokens are queries about the whole picture and have no place in it"
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("aria", "blip-2", "idefics2", "instructblip", "instructblipvideo", "kosmos-2"), _QUERIES
    ),
    "gemma3n": "its vision encoder needs the package timm, which it isn't tried with",
    "mllama": "its language model looks at pictures in layers of their own and has no image tokens",
}


def family_of(base_config: PreTrainedConfig) -> Family:
    """Return the family of a base.

    Raises:
        ConfigError: none is known for this kind of base, and its layout isn't plain; says what is missing.
    """
    kind = base_config.model_type
    if kind in FAMILIES:
        return FAMILIES[kind]
    reason = REFUSED[kind] if kind in REFUSED else why_not_plain(base_config)
    if reason is None:
        return PLAIN
    known = ", ".join(sorted(FAMILIES))
    raise ConfigError(
        f"model_name_or_path: no region family for bases of type {kind!r}: {reason}. Known: {known}."
    )
