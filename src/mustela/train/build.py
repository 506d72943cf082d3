"""From arguments to a model and its processor."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mustela.config import DataArguments, ModelArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.data.processor import MustelaProcessor
from mustela.data.templates import get_template
from mustela.errors import CheckpointError, ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.adapter import is_adapter
from mustela.model.build import (
    ClassicSettings,
    RegionSettings,
    build_classic,
    build_from_nothing,
    build_on_base,
)
from mustela.model.configuration import RegionEncoderName
from mustela.model.loading import is_mustela_model, load_model
from mustela.model.merging import merge
from mustela.model.packaged import packaged_models, resolve_model_path
from mustela.model.quantisation import Quantisation

logger = logging.getLogger(__name__)

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
        tokens=arguments.tokens_per_region,
        tower=arguments.region_tower,
        tower_size=arguments.region_tower_size,
        tower_layer=arguments.region_tower_layer,
        tower_join=arguments.region_tower_join,
    )


def classic_settings(arguments: ModelArguments, data: DataArguments) -> ClassicSettings:
    """Collect the settings of the classic composition."""
    return ClassicSettings(
        image_wh=(data.resized_image_w, data.resized_image_h),
        select_layer=arguments.mm_vision_select_layer,
        select_feature=arguments.mm_vision_select_feature,
        projector_type=arguments.mm_projector_type,
        image_aspect_ratio=data.image_aspect_ratio,
        image_grids=data.image_grid_pinpoints or ClassicSettings.image_grids,
        max_tokens=data.image_max_tokens,
        tile_order=arguments.mm_patch_merge_type,
        region_map=arguments.region_map,
        tile_tower=arguments.tile_tower,
        use_im_start_end=arguments.mm_use_im_start_end,
        use_im_patch_token=arguments.mm_use_im_patch_token,
    )


def classic_of(stage: StageArguments) -> ClassicSettings:
    """Collect the settings of the classic composition of a stage."""
    return classic_settings(stage.model, stage.data)


def build(
    arguments: ModelArguments,
    *,
    classic: ClassicSettings,
    from_scratch: Mapping[str, Any] | None,
    texts: Iterable[str],
    training: TrainingArguments,
) -> Built:
    """Build or load the model that the arguments describe, on the CPU.

    A model that mustela trained goes on with its own region encoder and, unless `version` names another, its
    own template. An adapter goes on as one with `lora_enable`, and merged into its base without.

    Args:
        arguments: names and settings of the model.
        classic: settings of the classic composition, where that is what is built.
        from_scratch: description of a model to build from nothing, or None.
        texts: what a tokenizer learns from, for a model from nothing.
        training: adapters, bits and numbers of the weights, and where downloads go.

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
    shared: dict[str, Any] = {
        "dtype": frozen_dtype(training),
        "quantisation": quantisation_of(training),
        "device": training.device,
        "attn_implementation": arguments.attn_implementation,
    }
    cache_dir = training.cache_dir
    chosen = arguments.attn_implementation
    attention = {} if chosen is None else {"attn_implementation": chosen}
    try:
        if training.lora_weight_path:
            return go_on(
                training.lora_weight_path,
                training,
                version=arguments.version,
                base=name,
                base_vision_tower=arguments.vision_tower,
                **attention,
            )
        if arguments.vision_tower is not None:
            return build_classic(
                name,
                arguments.vision_tower,
                version=arguments.version,
                regions=regions,
                classic=classic,
                cache_dir=cache_dir,
                **shared,
            )
        if is_own_model(name):
            return go_on(name, training, version=arguments.version, **attention)
        return build_on_base(name, version=arguments.version, regions=regions, cache_dir=cache_dir, **shared)
    except OSError as error:
        raise CheckpointError(f"--model_name_or_path {name}: the model cannot be loaded: {error}") from error


def is_own_model(name: str) -> bool:
    """Say whether a name is that of a model of mustela, in a folder or from the package."""
    return name in packaged_models() or (Path(name).is_dir() and is_mustela_model(resolve_model_path(name)))


def go_on(name: str | Path, training: TrainingArguments, *, version: str = "auto", **options: Any) -> Built:
    """Load a model of mustela, or an adapter on its base, to train it further.

    Args:
        name: its folder or name.
        training: adapters, bits and numbers of the weights.
        version: its template; `auto`: the one that it has.
        options: passed to `load_model`.
    """
    # Adapters that are going to be merged are merged in full.
    merged = is_adapter(resolve_model_path(name)) and not training.lora_enable
    quantisation = quantisation_of(training)
    model, processor = load_model(
        name,
        device="cpu" if quantisation is None else training.device,
        dtype=frozen_dtype(training),
        quantisation=quantisation,
        **options,
    )
    if merged:
        merge(model)
    if version != "auto":
        before, chosen = processor.template, get_template(version, tokenizer=processor.tokenizer)
        if chosen.layout != before.layout:
            logger.warning(
                "%s was trained with the template %s and goes on with %s (--version): its prompts change.",
                name,
                before.name,
                chosen.name,
            )
        processor = processor.with_template(chosen)
    return model, processor


def quantisation_of(training: TrainingArguments) -> Quantisation | None:
    """Return how the language model is stored, or None for in full."""
    if training.bits not in (4, 8):
        return None
    return Quantisation(
        bits=training.bits,
        quant_type=training.quant_type,
        double_quant=training.double_quant,
        compute_dtype=_half_dtype(training) or torch.float32,
    )


def frozen_dtype(training: TrainingArguments) -> torch.dtype:
    """Return the numbers of weights that are loaded: half precision under adapters, as they are frozen."""
    if training.lora_enable and training.bits != 32:
        return _half_dtype(training) or torch.float32
    return torch.float32


def _half_dtype(training: TrainingArguments) -> torch.dtype | None:
    if training.bf16:
        return torch.bfloat16
    return torch.float16 if training.fp16 else None
