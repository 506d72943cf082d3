"""From arguments to a model and its processor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mustela.config import ModelArguments
from mustela.data.processor import MustelaProcessor
from mustela.data.templates import get_template
from mustela.errors import CheckpointError, ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import (
    ClassicSettings,
    RegionSettings,
    build_classic,
    build_from_nothing,
    build_on_base,
)
from mustela.model.configuration import RegionEncoderName
from mustela.model.loading import is_mustela_model, load_model, packaged_models, resolve_model_path

Built = tuple[MustelaForConditionalGeneration, MustelaProcessor]


def region_encoder_name(arguments: ModelArguments) -> RegionEncoderName:
    """Return the region encoder: the one named, or what the original's two switches say."""
    if arguments.region_encoder is not None:
        return arguments.region_encoder
    if not arguments.add_region_feature:
        return "none"
    return "geo" if arguments.region_geo_sampler else "mean"


def region_settings(arguments: ModelArguments) -> RegionSettings:
    """Collect the settings of the region encoder."""
    return RegionSettings(
        encoder=region_encoder_name(arguments),
        geometry=arguments.sampling_geometry,
        pooling=arguments.sampler_pooler_mode,
        points=arguments.region_points,
        sub_points=tuple(arguments.region_sub_points),
        neighbors=arguments.region_neighbors,
    )


def classic_settings(
    arguments: ModelArguments, *, image_wh: tuple[int, int], image_aspect_ratio: str
) -> ClassicSettings:
    """Collect the settings of the classic composition."""
    return ClassicSettings(
        image_wh=image_wh,
        select_layer=arguments.mm_vision_select_layer,
        select_feature=arguments.mm_vision_select_feature,
        projector_type=arguments.mm_projector_type,
        image_aspect_ratio=image_aspect_ratio,
        use_im_start_end=arguments.mm_use_im_start_end,
        use_im_patch_token=arguments.mm_use_im_patch_token,
    )


def build(
    arguments: ModelArguments,
    *,
    classic: ClassicSettings,
    from_scratch: Mapping[str, Any] | None,
    texts: Iterable[str],
    cache_dir: str | None,
) -> Built:
    """Build or load the model that the arguments describe, in float32 on the CPU.

    A model that mustela trained goes on with its own region encoder and, unless `version` names another, its
    own template.

    Args:
        arguments: names and settings of the model.
        classic: settings of the classic composition, where that is what is built.
        from_scratch: description of a model to build from nothing, or None.
        texts: what a tokenizer learns from, for a model from nothing.
        cache_dir: where downloads go.

    Raises:
        CheckpointError: the model cannot be loaded.
        ConfigError: the arguments describe no model.
    """
    regions = region_settings(arguments)
    if from_scratch is not None:
        return build_from_nothing(
            from_scratch, texts, version=arguments.version, regions=regions, classic=classic
        )
    name = arguments.model_name_or_path
    if name is None:
        raise ConfigError("There is no model to train: give --model_name_or_path.")
    try:
        if arguments.vision_tower is not None:
            return build_classic(
                name,
                arguments.vision_tower,
                version=arguments.version,
                regions=regions,
                classic=classic,
                attn_implementation=arguments.attn_implementation,
                cache_dir=cache_dir,
            )
        if name in packaged_models() or (Path(name).is_dir() and is_mustela_model(resolve_model_path(name))):
            return _go_on(name, arguments)
        return build_on_base(
            name,
            version=arguments.version,
            regions=regions,
            attn_implementation=arguments.attn_implementation,
            cache_dir=cache_dir,
        )
    except OSError as error:
        raise CheckpointError(f"--model_name_or_path {name}: the model cannot be loaded: {error}") from error


def _go_on(name: str, arguments: ModelArguments) -> Built:
    model, processor = load_model(name, device="cpu")
    if arguments.version != "auto":
        processor = processor.with_template(get_template(arguments.version, tokenizer=processor.tokenizer))
    return model, processor
