"""Configuration and processor of the classic composition, from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import LlavaProcessor, PreTrainedConfig, PreTrainedTokenizerFast

from mustela.constants import IM_END_TOKEN, IM_START_TOKEN, IMAGE_PLACEHOLDER, REGION_TOKEN
from mustela.data.pictures import tile_tokens
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.templates import get_template
from mustela.data.tiling import parse_grids, within_budget
from mustela.errors import ConfigError
from mustela.model.classic_config import ClassicConfig, is_convolutional, patch_size, prefix_tokens
from mustela.model.settings import ClassicSettings, RegionSettings
from mustela.model.tokens import token_id


def picture_marks(classic: ClassicSettings) -> tuple[str, ...]:
    """Return the tokens that stand round pictures in the text."""
    return (IM_START_TOKEN, IM_END_TOKEN) if classic.use_im_start_end else ()


def classic_config(
    text_config: PreTrainedConfig,
    vision_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    classic: ClassicSettings,
    *,
    tile_config: PreTrainedConfig | None = None,
) -> ClassicConfig:
    """Join the configurations of a language model, a vision tower and, if apart, the encoder of tiles.

    Raises:
        ConfigError: the vision tower can't take tiles.
    """
    tiled = classic.image_aspect_ratio == "anyres"
    if tiled and is_convolutional(vision_config):
        raise ConfigError(
            "image_aspect_ratio anyres needs an encoder of patches; a convolutional tower takes one picture:"
            " set square_nocrop or pad."
        )
    if tile_config is not None and not tiled:
        raise ConfigError("tile_tower encodes tiles: set image_aspect_ratio: anyres.")
    if is_convolutional(vision_config):
        # What other encoders' configurations hold and LLaVA reads.
        vision_config.image_size = classic.image_wh[0]
        vision_config.hidden_size = vision_config.hidden_sizes[-1]
    return ClassicConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_index=token_id(IMAGE_PLACEHOLDER, tokenizer),
        vision_feature_layer=classic.select_layer,
        vision_feature_select_strategy="default" if classic.select_feature == "patch" else "full",
        projector_type=classic.projector_type,
        token_norm=is_convolutional(vision_config),
        tie_word_embeddings=text_config.tie_word_embeddings,
        tile_order=classic.tile_order if tiled else None,
        region_map=classic.region_map,
        tile_vision_config=tile_config,
    )


def classic_processor(
    config: ClassicConfig,
    tokenizer: PreTrainedTokenizerFast,
    image_processor: Any,
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
    tile_processor: Any = None,
    region_processor: Any = None,
    region_wh: Sequence[int] | None = None,
) -> MustelaProcessor:
    """Make the processor of a classic composition.

    Args:
        config: of the composition.
        tokenizer: with all added tokens.
        image_processor: normalises pictures; fitting them is the processor's own work.
        version: template.
        regions: the region encoder.
        classic: the composition.
        tile_processor: normalises tiles, where they have an encoder of their own.
        region_processor: normalises pictures for the region tower.
        region_wh: the picture that the region tower takes; None: there is none.
    """
    vision_config: Any = config.vision_config
    joined = 2 if classic.projector_type == "mlp_downsample" else 1
    patches_only = classic.select_feature == "patch"
    base_processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=patch_size(vision_config) * joined,
        vision_feature_select_strategy="default" if patches_only else "full",
        image_token=IMAGE_PLACEHOLDER,
        num_additional_image_tokens=1 if patches_only else prefix_tokens(vision_config),
    )
    settings = ProcessorSettings(
        region_token=REGION_TOKEN if regions.encoder != "none" else None,
        region_points=regions.points,
        tokens_per_region=regions.tokens,
        sampling_geometry=regions.geometry,
        image_aspect_ratio=classic.image_aspect_ratio,
        resized_image_wh=classic.image_wh,
        mm_use_im_start_end=classic.use_im_start_end,
    )
    if config.tile_order is not None:
        tile_config: Any = config.tile_vision_config
        settings = replace(
            settings,
            tile_order=config.tile_order,
            tile_patch=None if tile_config is None else patch_size(tile_config) * joined,
        )
        grids = parse_grids(classic.image_grids, classic.image_wh)
        tokens = tile_tokens(settings, base_processor)
        settings = replace(settings, image_grids=within_budget(grids, tokens, classic.max_tokens))
    template = get_template(version, tokenizer=tokenizer, image_token=IMAGE_PLACEHOLDER)
    if region_wh is None:
        return MustelaProcessor(base_processor, template, settings, tile_processor=tile_processor)
    settings = replace(settings, region_image_wh=(region_wh[0], region_wh[1]))
    return MustelaProcessor(
        base_processor,
        template,
        settings,
        tile_processor=tile_processor,
        region_processor=region_processor,
    )
