"""Building a model: from nothing, from a language model and a vision tower, or round a ready base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
)

from mustela.constants import IM_PATCH_TOKEN, REGION_TOKEN
from mustela.data.base_processor import load_base_processor
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.templates import get_template
from mustela.data.tokenizer import load_tokenizer
from mustela.errors import ConfigError
from mustela.model.assembly import classic_config, classic_processor, picture_marks
from mustela.model.classic import ClassicForConditionalGeneration
from mustela.model.composing import assemble, load_parts, load_tower, make_room, normaliser, region_parts
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.origin import Origin, origin_of
from mustela.model.quantisation import Quantisation, loading_options, mark_quantised
from mustela.model.settings import ClassicSettings, RegionSettings
from mustela.model.tokens import add_tokens, added_tokens, control_strings, train_tokenizer
from mustela.model.wrapping import wrap

__all__ = [
    "ClassicSettings",
    "RegionSettings",
    "build_classic",
    "build_from_nothing",
    "build_on_base",
    "build_stand_in",
]

# Enough for words, so that texts take about as many tokens as with a real tokenizer.
_STAND_IN_TOKENS = 8000


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
        recipe: `language_model`, `vision_tower` and, where wanted, `tile_tower` and `region_tower`:
            configurations with their `model_type`; `tokenizer`: `vocab_size`.
        texts: what the tokenizer learns from.
        version: template.
        regions: the region encoder.
        classic: the composition.
    """
    template = get_template(version, tokenizer=None)
    tokens = added_tokens(region=REGION_TOKEN, marks=picture_marks(classic))
    tokenizer = train_tokenizer(
        texts,
        vocab_size=int(recipe["tokenizer"]["vocab_size"]),
        control_tokens=[*control_strings(template), *tokens],
        end_token=template.stop_strings[0],
    )
    text_config = _config_from(recipe["language_model"], vocab_size=len(tokenizer), tokenizer=tokenizer)
    vision_config = _config_from(recipe["vision_tower"])
    tile_config = _config_from(recipe["tile_tower"]) if "tile_tower" in recipe else None
    config = classic_config(text_config, vision_config, tokenizer, classic, tile_config=tile_config)
    base = ClassicForConditionalGeneration(config)
    size = {"height": classic.image_wh[1], "width": classic.image_wh[0]}
    image_processor = SiglipImageProcessorPil(do_resize=False, size=size)
    tower = None
    if "region_tower" in recipe:
        tower = AutoModel.from_config(_config_from(recipe["region_tower"]))
    return _finish(
        base,
        tokenizer,
        image_processor,
        version=version,
        regions=regions,
        classic=classic,
        region_parts=(tower, SiglipImageProcessorPil(do_resize=False)),
    )


def build_classic(
    language_model: str | Path,
    vision_tower: str | Path,
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
    dtype: torch.dtype = torch.float32,
    quantisation: Quantisation | None = None,
    device: str | torch.device = "cpu",
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
        quantisation: of the language model, or None.
        device: where a quantised model goes; any other goes to the CPU.
        attn_implementation: attention back-end of both.
        cache_dir: where downloads go.
    """
    shared: dict[str, Any] = {"cache_dir": cache_dir}
    tokenizer: Any = load_tokenizer(language_model, cache_dir=cache_dir)
    patch = IM_PATCH_TOKEN if classic.use_im_patch_token else None
    region = REGION_TOKEN if regions.encoder != "none" else None
    add_tokens(tokenizer, added_tokens(region=region, patch=patch, marks=picture_marks(classic)))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    lm, tower = load_parts(
        language_model,
        vision_tower,
        quantisation=quantisation,
        device=device,
        dtype=dtype,
        attn_implementation=attn_implementation,
        **shared,
    )
    rows = make_room(lm, len(tokenizer))
    tiles, tile_processor = None, None
    if classic.tile_tower is not None:
        tiles = load_tower(classic.tile_tower, dtype=dtype, attn_implementation=attn_implementation, **shared)
        tile_processor = normaliser(classic.tile_tower, **shared)
    config = classic_config(
        lm.config, tower.config, tokenizer, classic, tile_config=None if tiles is None else tiles.config
    )
    base = assemble(config, lm, tower, tiles=tiles, dtype=dtype)
    model, processor = _finish(
        base,
        tokenizer,
        normaliser(vision_tower, **shared),
        version=version,
        regions=regions,
        classic=classic,
        tile_processor=tile_processor,
        region_parts=region_parts(regions, dtype=dtype, attn_implementation=attn_implementation, **shared),
    )
    if quantisation is not None:
        mark_quantised(model, lm)
        model.to(device)  # type: ignore[arg-type]
    model.origin = origin_of(model, "classic", language_model, vision_tower, rows=rows)
    return model, processor


def build_stand_in(
    language_model: Mapping[str, Any],
    vision_tower: Mapping[str, Any],
    texts: Iterable[str],
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
    dtype: torch.dtype = torch.float32,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Make what `build_classic` makes, from configurations alone: for a plan, not for training.

    The tokenizer is one trained on `texts`; token ids don't fit those of the model that it stands in for.

    Args:
        language_model: its configuration, with its `model_type`.
        vision_tower: likewise.
        texts: what the tokenizer learns from.
        version: template.
        regions: the region encoder.
        classic: the composition.
        dtype: of all weights.
    """
    text_config, vision_config = _config_from(language_model), _config_from(vision_tower)
    patch = IM_PATCH_TOKEN if classic.use_im_patch_token else None
    region = REGION_TOKEN if regions.encoder != "none" else None
    tokens = added_tokens(region=region, patch=patch, marks=picture_marks(classic))
    template = get_template(version, tokenizer=None)
    tokenizer = train_tokenizer(
        texts,
        vocab_size=min(text_config.vocab_size, _STAND_IN_TOKENS),
        control_tokens=[*control_strings(template), *tokens],
        end_token=template.stop_strings[0],
    )
    text_config.vocab_size += len(tokens)
    text_config.pad_token_id = tokenizer.pad_token_id
    lm = AutoModelForCausalLM.from_config(text_config, dtype=dtype)
    lm.tie_weights()
    tower = AutoModel.from_config(vision_config, dtype=dtype)
    config = classic_config(text_config, vision_config, tokenizer, classic)
    base = assemble(config, lm, tower, dtype=dtype)
    size = {"height": classic.image_wh[1], "width": classic.image_wh[0]}
    image_processor = SiglipImageProcessorPil(do_resize=False, size=size)
    model, processor = _finish(
        base, tokenizer, image_processor, version=version, regions=regions, classic=classic
    )
    model.origin = Origin("classic", "", "", text_config.vocab_size, probe=())
    return model, processor


def build_on_base(
    base_path: str | Path,
    *,
    version: str,
    regions: RegionSettings,
    dtype: torch.dtype = torch.float32,
    quantisation: Quantisation | None = None,
    device: str | torch.device = "cpu",
    attn_implementation: str | None = None,
    cache_dir: str | None = None,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Give regions to a ready image-text-to-text model of transformers.

    Args:
        base_path: folder or name.
        version: template; `auto` is the one that the model was trained with.
        regions: the region encoder.
        dtype: of all weights.
        quantisation: of the language model, or None.
        device: where a quantised model goes; any other goes to the CPU.
        attn_implementation: attention back-end.
        cache_dir: where downloads go.

    Raises:
        ConfigError: no family of bases is known for it.
        MissingExtraError: its processor needs a package that isn't installed.
    """
    base_processor = load_base_processor(base_path, cache_dir=cache_dir)
    tokenizer = base_processor.tokenizer
    if regions.encoder != "none":
        add_tokens(tokenizer, [REGION_TOKEN])
    base = AutoModelForImageTextToText.from_pretrained(
        base_path,
        dtype=dtype,
        attn_implementation=attn_implementation,
        cache_dir=cache_dir,
        **loading_options(quantisation, device=device),
    )
    rows = make_room(base, len(tokenizer))
    tower, region_processor = region_parts(
        regions, dtype=dtype, attn_implementation=attn_implementation, cache_dir=cache_dir
    )
    model = wrap(base, tokenizer, regions, tower=tower)
    if quantisation is not None:
        mark_quantised(model, base)
        model.to(device)  # type: ignore[arg-type]
    model.origin = origin_of(model, "ready", base_path, None, rows=rows)
    settings = ProcessorSettings(
        region_token=REGION_TOKEN if regions.encoder != "none" else None,
        region_points=regions.points,
        tokens_per_region=regions.tokens,
        sampling_geometry=regions.geometry,
        coordinates=model.family.coordinates,
    )
    own = base_processor.chat_template if version == "auto" else None
    if version == "auto" and own is None and tokenizer.chat_template is None:
        version = model.family.template or version
    template = get_template(
        version, tokenizer=tokenizer, image_token=base_processor.image_token, chat_template=own
    )
    size = model.config.region_tower_wh
    if size is not None:
        settings = replace(settings, region_image_wh=(size[0], size[1]))
    return model, MustelaProcessor(base_processor, template, settings, region_processor=region_processor)


def _config_from(
    values: Mapping[str, Any],
    *,
    vocab_size: int | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
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


def _finish(
    base: ClassicForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    image_processor: Any,
    *,
    version: str,
    regions: RegionSettings,
    classic: ClassicSettings,
    tile_processor: Any = None,
    region_parts: tuple[PreTrainedModel | None, Any] = (None, None),
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    tower, region_processor = region_parts
    model = wrap(base, tokenizer, regions, tower=tower)
    processor = classic_processor(
        base.config,
        tokenizer,
        image_processor,
        version=version,
        regions=regions,
        classic=classic,
        tile_processor=tile_processor,
        region_processor=region_processor,
        region_wh=model.config.region_tower_wh,
    )
    return model, processor
