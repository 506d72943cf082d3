"""Building a model: from nothing, from a language model and a vision tower, or round a ready base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SiglipImageProcessorPil,
)

from mustela.constants import IM_END_TOKEN, IM_PATCH_TOKEN, IM_START_TOKEN, IMAGE_PLACEHOLDER, REGION_TOKEN
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.templates import get_template
from mustela.errors import ConfigError
from mustela.model.classic import ClassicConfig, ClassicForConditionalGeneration, ClassicModel, prefix_tokens
from mustela.model.configuration import MustelaConfig, RegionEncoderName, SamplingGeometry
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.region_encoders import build_region_encoder
from mustela.model.tokens import add_tokens, added_tokens, control_strings, train_tokenizer


@dataclass(frozen=True)
class RegionSettings:
    """The region encoder of a model to be built; see `mustela.model.MustelaConfig`."""

    encoder: RegionEncoderName = "geo"
    geometry: SamplingGeometry = "aligned"
    pooling: str = "max"
    points: int = 512
    sub_points: tuple[int, ...] = (128, 32)
    neighbors: int = 24


@dataclass(frozen=True)
class ClassicSettings:
    """The classic composition to be built, under the original's names.

    Attributes:
        image_wh: the picture that the vision tower takes.
        select_layer: hidden state of the tower that is read.
        select_feature: `patch` or `cls_patch`.
        projector_type: `linear` or `mlp2x_gelu`.
        image_aspect_ratio: `square_nocrop` or `pad`.
        use_im_start_end: mark pictures in the text.
        use_im_patch_token: add the unused token `<im_patch>`, so that ids equal those of the original.
    """

    image_wh: tuple[int, int] = (336, 336)
    select_layer: int = -2
    select_feature: str = "patch"
    projector_type: str = "linear"
    image_aspect_ratio: str = "square_nocrop"
    use_im_start_end: bool = False
    use_im_patch_token: bool = False


def _materialised(module_class: Any, config: PreTrainedConfig) -> Any:
    """Make a module without numbers, to be given real parts."""
    with torch.device("meta"):
        return module_class(config)


def _wrap(
    base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, regions: RegionSettings
) -> MustelaForConditionalGeneration:
    """Put a base into a mustela model with a fresh region encoder."""
    has_encoder = regions.encoder != "none"
    config = MustelaConfig(
        base_config=base.config,
        region_encoder=regions.encoder,
        region_token_id=tokenizer.convert_tokens_to_ids(REGION_TOKEN) if has_encoder else None,
        sampler_pooler_mode=regions.pooling,
        sampling_geometry=regions.geometry,
        region_points=regions.points,
        region_sub_points=list(regions.sub_points),
        region_neighbors=regions.neighbors,
    )
    model: MustelaForConditionalGeneration = _materialised(MustelaForConditionalGeneration, config)
    model.base = base
    model.region_encoder = build_region_encoder(
        config,
        channels=model.family.channels(base.config),
        hidden_size=base.config.get_text_config().hidden_size,
    )
    if model.region_encoder is not None:
        model.region_encoder.to(dtype=base.dtype)
    model.generation_config = base.generation_config
    model.generation_config.eos_token_id = _end_ids(model.generation_config.eos_token_id, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _end_ids(known: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids = [known] if isinstance(known, int) else list(known or [])
    return list(
        dict.fromkeys([*ids, *([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])])
    )


def build_from_nothing(
    recipe: Mapping[str, Any],
    texts: Iterable[str],
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Make a classic composition of random numbers and a tokenizer trained on `texts`.

    Args:
        recipe: `language_model` and `vision_tower`: configurations with their `model_type`;
            `tokenizer`: `vocab_size`.
        texts: what the tokenizer learns from.
        version: template.
        regions: the region encoder.
        classic: the composition.
    """
    template = get_template(version, tokenizer=None)
    tokens = added_tokens(region=REGION_TOKEN, marks=_marks(classic))
    tokenizer = train_tokenizer(
        texts,
        vocab_size=int(recipe["tokenizer"]["vocab_size"]),
        control_tokens=[*control_strings(template), *tokens],
        end_token=template.stop_strings[0],
    )
    text_config = _config_from(recipe["language_model"], vocab_size=len(tokenizer), tokenizer=tokenizer)
    vision_config = _config_from(recipe["vision_tower"])
    config = _classic_config(text_config, vision_config, tokenizer, classic)
    base = ClassicForConditionalGeneration(config)
    size = {"height": classic.image_wh[1], "width": classic.image_wh[0]}
    image_processor = SiglipImageProcessorPil(do_resize=False, size=size)
    return _finish(base, tokenizer, image_processor, version=version, regions=regions, classic=classic)


def build_classic(
    language_model: str | Path,
    vision_tower: str | Path,
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
    dtype: torch.dtype = torch.float32,
    attn_implementation: str | None = None,
    cache_dir: str | None = None,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Join a causal language model and a vision tower by a fresh projector, as Ferret and LLaVA do.

    Args:
        language_model: folder or name.
        vision_tower: folder or name of a CLIP, SigLIP or DINO encoder.
        version: template.
        regions: the region encoder.
        classic: the composition.
        dtype: of all weights.
        attn_implementation: attention back-end of both.
        cache_dir: where downloads go.
    """
    shared: dict[str, Any] = {"cache_dir": cache_dir}
    weights = {"dtype": dtype, "attn_implementation": attn_implementation, **shared}
    tokenizer = AutoTokenizer.from_pretrained(language_model, **shared)
    patch = IM_PATCH_TOKEN if classic.use_im_patch_token else None
    region = REGION_TOKEN if regions.encoder != "none" else None
    add_tokens(tokenizer, added_tokens(region=region, patch=patch, marks=_marks(classic)))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    lm = AutoModelForCausalLM.from_pretrained(language_model, **weights)
    if len(tokenizer) > lm.get_input_embeddings().weight.shape[0]:
        lm.resize_token_embeddings(len(tokenizer))
    vision_config = AutoConfig.from_pretrained(vision_tower, **shared)
    vision_config = getattr(vision_config, "vision_config", vision_config)
    tower = AutoModel.from_pretrained(vision_tower, config=vision_config, **weights)
    config = _classic_config(lm.config, vision_config, tokenizer, classic)
    base: ClassicForConditionalGeneration = _materialised(ClassicForConditionalGeneration, config)
    base.model.vision_tower = tower
    base.model.language_model = lm.base_model
    base.lm_head = lm.get_output_embeddings()
    base.model.multi_modal_projector = _fresh_projector(config).to(dtype)
    base.generation_config = lm.generation_config
    image_processor = AutoImageProcessor.from_pretrained(vision_tower, **shared)
    image_processor.do_resize = False
    image_processor.do_center_crop = False
    return _finish(base, tokenizer, image_processor, version=version, regions=regions, classic=classic)


def build_on_base(
    base_path: str | Path,
    *,
    version: str,
    regions: RegionSettings,
    dtype: torch.dtype = torch.float32,
    attn_implementation: str | None = None,
    cache_dir: str | None = None,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Give regions to a ready image-text-to-text model of transformers.

    Args:
        base_path: folder or name.
        version: template; `auto` is the one that the model was trained with.
        regions: the region encoder.
        dtype: of all weights.
        attn_implementation: attention back-end.
        cache_dir: where downloads go.
    """
    base_processor = AutoProcessor.from_pretrained(base_path, cache_dir=cache_dir)
    tokenizer = base_processor.tokenizer
    if regions.encoder != "none":
        add_tokens(tokenizer, [REGION_TOKEN])
    base = AutoModelForImageTextToText.from_pretrained(
        base_path, dtype=dtype, attn_implementation=attn_implementation, cache_dir=cache_dir
    )
    if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(len(tokenizer))
    model = _wrap(base, tokenizer, regions)
    settings = ProcessorSettings(
        region_token=REGION_TOKEN if regions.encoder != "none" else None,
        region_points=regions.points,
        sampling_geometry=regions.geometry,
    )
    template = get_template(
        version,
        tokenizer=tokenizer,
        image_token=base_processor.image_token,
        chat_template=base_processor.chat_template if version == "auto" else None,
    )
    return model, MustelaProcessor(base_processor, template, settings)


def _marks(classic: ClassicSettings) -> tuple[str, ...]:
    return (IM_START_TOKEN, IM_END_TOKEN) if classic.use_im_start_end else ()


def _config_from(
    values: Mapping[str, Any],
    *,
    vocab_size: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> PreTrainedConfig:
    values = dict(values)
    try:
        kind = values.pop("model_type")
    except KeyError:
        raise ConfigError(
            "from_scratch: language_model and vision_tower need a model_type, such as llama."
        ) from None
    if tokenizer is not None:
        values |= {
            "vocab_size": vocab_size,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
    return AutoConfig.for_model(kind, **values)


def _classic_config(
    text_config: PreTrainedConfig,
    vision_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    classic: ClassicSettings,
) -> ClassicConfig:
    return ClassicConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER),
        vision_feature_layer=classic.select_layer,
        vision_feature_select_strategy="default" if classic.select_feature == "patch" else "full",
        projector_type=classic.projector_type,
        tie_word_embeddings=text_config.tie_word_embeddings,
    )


def _fresh_projector(config: ClassicConfig) -> nn.Module:
    small = ClassicConfig(
        **{**config.to_dict(), "text_config": config.text_config, "vision_config": config.vision_config}
    )
    with torch.device("meta"):
        projector = ClassicModel(small).multi_modal_projector
    projector = projector.to_empty(device="cpu")
    for module in projector.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return projector


def _finish(
    base: ClassicForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    image_processor: Any,
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    vision_config: Any = base.config.vision_config
    patches_only = classic.select_feature == "patch"
    base_processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=vision_config.patch_size * (2 if classic.projector_type == "mlp_downsample" else 1),
        vision_feature_select_strategy="default" if patches_only else "full",
        image_token=IMAGE_PLACEHOLDER,
        num_additional_image_tokens=1 if patches_only else prefix_tokens(vision_config),
    )
    settings = ProcessorSettings(
        region_token=REGION_TOKEN if regions.encoder != "none" else None,
        region_points=regions.points,
        sampling_geometry=regions.geometry,
        image_aspect_ratio=classic.image_aspect_ratio,
        resized_image_wh=classic.image_wh,
        mm_use_im_start_end=classic.use_im_start_end,
    )
    template = get_template(version, tokenizer=tokenizer, image_token=IMAGE_PLACEHOLDER)
    return _wrap(base, tokenizer, regions), MustelaProcessor(base_processor, template, settings)
