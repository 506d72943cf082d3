"""Putting a base, with its weights, into a mustela model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from mustela.constants import REGION_TOKEN
from mustela.errors import ConfigError
from mustela.model.configuration import MustelaConfig
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.region_encoders import build_region_encoder
from mustela.model.region_tower import make_region_join, make_region_tower, region_channels, region_size
from mustela.model.settings import RegionSettings
from mustela.model.tokens import token_id


def without_numbers(module_class: Any, config: PreTrainedConfig) -> Any:
    """Make a module without numbers, to be given real parts."""
    with torch.device("meta"):
        return module_class(config)


def mustela_config(
    base_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    regions: RegionSettings,
    *,
    tower: PreTrainedConfig | None = None,
) -> MustelaConfig:
    """Make the configuration of a base with a region encoder and, where given, a region tower.

    Raises:
        ConfigError: the region tower can't be read as the settings say, or `geo` can't keep so many points.
    """
    side = None
    stages = pairwise((regions.points, *regions.sub_points))
    if regions.encoder == "geo" and any(kept > given for given, kept in stages):
        raise ConfigError(
            f"region_sub_points are {list(regions.sub_points)} of {regions.points} region_points: a stage of"
            " geo keeps some of the points before it. Lower region_sub_points or raise region_points."
        )
    if tower is not None:
        if regions.encoder == "none":
            raise ConfigError("region_tower is given, but there is no region encoder to read it: set one.")
        side = region_size(tower, regions.tower_size)
    return MustelaConfig(
        base_config=base_config,
        region_encoder=regions.encoder,
        region_token_id=token_id(REGION_TOKEN, tokenizer) if regions.encoder != "none" else None,
        sampler_pooler_mode=regions.pooling,
        sampling_geometry=regions.geometry,
        region_points=regions.points,
        region_sub_points=list(regions.sub_points),
        region_neighbors=regions.neighbors,
        tokens_per_region=regions.tokens,
        region_tower_config=tower,
        region_tower_wh=None if side is None else [side, side],
        region_tower_layer=regions.tower_layer,
        region_tower_join=regions.tower_join,
    )


def wrap(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    regions: RegionSettings,
    *,
    tower: PreTrainedModel | None = None,
) -> MustelaForConditionalGeneration:
    """Put a base, and a region tower where given, into a mustela model with a fresh region encoder."""
    config = mustela_config(base.config, tokenizer, regions, tower=None if tower is None else tower.config)
    model = wrap_as(base, config)
    if tower is not None and model.region_tower is not None:
        model.region_tower.encoder = tower
    model.generation_config.eos_token_id = end_ids(model.generation_config.eos_token_id, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def wrap_as(base: PreTrainedModel, config: MustelaConfig) -> MustelaForConditionalGeneration:
    """Put a base into a mustela model of a given configuration, with a fresh region encoder."""
    model: MustelaForConditionalGeneration = without_numbers(MustelaForConditionalGeneration, config)
    model.base = base
    base_channels = model.family.channels(base.config)
    model.region_encoder = build_region_encoder(
        config,
        channels=region_channels(config, base_channels),
        hidden_size=base.config.get_text_config().hidden_size,
    )
    model.region_tower = make_region_tower(config)
    model.region_join = make_region_join(config, base_channels)
    for module in (model.region_encoder, model.region_tower, model.region_join):
        if module is not None:
            module.to(dtype=base.dtype)
    model.generation_config = base.generation_config
    return model


def end_ids(known: int | list[int] | None, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the ids that end a generation: those known, and the tokenizer's."""
    ids = [known] if isinstance(known, int) else list(known or [])
    return list(
        dict.fromkeys([*ids, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])])
    )


def tensor_shapes(config: MustelaConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors by name, without a head that is tied to the embeddings."""
    model = without_numbers(MustelaForConditionalGeneration, config)
    tied = {"base.lm_head.weight"} if config.get_text_config().tie_word_embeddings else set()
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied}
