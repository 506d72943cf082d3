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

__all__ = ["FAMILIES", "family_of"]


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
    reads=_LAST,
    tested="native resolution",
    coordinates="json",
)
_GLM = replace(
    _QWEN,
    channels=lambda config: int(config.vision_config.out_hidden_size),
    grids=grids.merged_grids,
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
    reads=f"{_LAST}: joined tiles plus the overview",
    tested="pictures with and without tiles",
)
_GEMMA = Family(
    image_inputs=("pixel_values",),
    channels=_vision_width,
    grids=grids.last_layer_grids,
    blank=blanks.square,
    reads=_LAST,
    tested="square pictures",
)

FAMILIES: dict[str, Family] = {
    "mustela_classic": Family(
        image_inputs=("pixel_values",),
        optional_inputs=("image_tiles", "image_content", "tile_pixel_values"),
        channels=lambda config: int(config.region_width),
        grids=_classic_grids,
        blank=_classic_blank,
        reads="the tower's mm_vision_select_layer; with tiles joined tiles and overview",
        tested="CLIP, SigLIP and DINOv2 towers with Llama, Qwen3 and Gemma language models",
    ),
    "llava": _LLAVA,
    "vipllava": replace(_LLAVA, optional_inputs=(), tested="a CLIP tower, five layers"),
    "llava_next": _LLAVA_NEXT,
    "llava_onevision": replace(_LLAVA_NEXT, tested="a SigLIP tower, one to four tiles"),
    "qwen2_vl": replace(_QWEN, coordinates="corners"),
    "qwen2_5_vl": replace(_QWEN, grids=grids.shuffled_window_grids, coordinates="pixels"),
    "qwen3_vl": _QWEN,
    "qwen3_5": _QWEN,
    "glm4v": _GLM,
    "glm46v": _GLM,
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "paligemma": replace(_GEMMA, coordinates="tokens", template="paligemma"),
    "gemma3": _GEMMA,
    "gemma4": Family(
        image_inputs=("pixel_values", "image_position_ids"),
        position_inputs=("mm_token_type_ids",),
        channels=_vision_width,
        grids=grids.pooled_grids,
        blank=blanks.positions,
        reads="pooled vision features, before the projector",
        tested="native resolution",
    ),
    "internvl": Family(
        image_inputs=("pixel_values",),
        layout_inputs=_LAYOUT,
        channels=_vision_width,
        grids=grids.layer_tile_grids_overview_last,
        blank=blanks.tile,
        reads=f"{_LAST}: joined tiles plus the overview",
        tested="pictures with and without tiles",
    ),
    "mistral3": Family(
        image_inputs=("pixel_values", "image_sizes"),
        channels=grids.layer_channels,
        grids=grids.native_grids,
        blank=blanks.native,
        reads=_LAYERS,
        tested="native resolution",
    ),
}


def family_of(base_config: PreTrainedConfig) -> Family:
    """Return the family of a base.

    Raises:
        ConfigError: no family is known for this kind of base.
    """
    try:
        return FAMILIES[base_config.model_type]
    except KeyError:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(
            f"model_name_or_path: no region family for bases of type {base_config.model_type!r}: it must say"
            f" which vision features make the grid and in which order. Known: {known}."
        ) from None
