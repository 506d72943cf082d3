"""Putting a classic composition together from a language model and a vision tower that lie elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForCausalLM, PreTrainedModel

from mustela.model.classic import ClassicForConditionalGeneration, ClassicModel
from mustela.model.classic_config import ClassicConfig
from mustela.model.projectors import PlaceEmbedding, TokenNorm, make_projector
from mustela.model.quantisation import Quantisation, loading_options
from mustela.model.settings import RegionSettings
from mustela.model.wrapping import without_numbers


def load_parts(
    language_model: str | Path,
    vision_tower: str | Path,
    *,
    quantisation: Quantisation | None,
    device: str | torch.device,
    cache_dir: str | None = None,
    **weights: Any,
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Load a causal language model and a vision tower, the first quantised if asked for.

    Args:
        language_model: folder or name.
        vision_tower: folder or name; of a model of pictures and texts, the part for pictures is taken.
        quantisation: of the language model, or None.
        device: where a quantised language model goes.
        cache_dir: where downloads go.
        weights: arguments of `from_pretrained` for both.
    """
    lm = AutoModelForCausalLM.from_pretrained(
        language_model, cache_dir=cache_dir, **weights, **loading_options(quantisation, device=device)
    )
    return lm, load_tower(vision_tower, cache_dir=cache_dir, **weights)


def load_tower(vision_tower: str | Path, *, cache_dir: str | None = None, **weights: Any) -> PreTrainedModel:
    """Load a vision encoder; of a model of pictures and texts, or of masks, the part for pictures is taken.

    Args:
        vision_tower: folder or name.
        cache_dir: where downloads go.
        weights: arguments of `from_pretrained`.
    """
    vision_config = AutoConfig.from_pretrained(vision_tower, cache_dir=cache_dir)
    if "vision_config" in vision_config.sub_configs:
        vision_config = vision_config.vision_config
    tower: PreTrainedModel = AutoModel.from_pretrained(
        vision_tower, config=vision_config, cache_dir=cache_dir, **weights
    )
    return tower


def normaliser(vision_tower: str | Path, *, cache_dir: str | None = None) -> Any:
    """Return the image processor of an encoder, that normalises pictures and doesn't fit them."""
    image_processor = AutoImageProcessor.from_pretrained(vision_tower, cache_dir=cache_dir)
    image_processor.do_resize = False
    image_processor.do_center_crop = False
    image_processor.do_pad = False
    return image_processor


def region_parts(
    regions: RegionSettings, *, cache_dir: str | None = None, **weights: Any
) -> tuple[PreTrainedModel | None, Any]:
    """Load the region tower and its image processor; None and None where there is none."""
    if regions.tower is None:
        return None, None
    tower = load_tower(regions.tower, cache_dir=cache_dir, **weights)
    return tower, normaliser(regions.tower, cache_dir=cache_dir)


def make_room(model: Any, tokens: int) -> int:
    """Give every token a row in the embeddings; rows beyond the tokenizer, as many models have, stay.

    Returns:
        The rows that were there.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    if tokens > rows:
        model.resize_token_embeddings(tokens)
    return rows


def assemble(
    config: ClassicConfig,
    lm: Any,
    tower: PreTrainedModel,
    *,
    tiles: PreTrainedModel | None = None,
    dtype: torch.dtype,
) -> ClassicForConditionalGeneration:
    """Join them by fresh projectors, of numbers of type `dtype`.

    An encoder of tiles that the configuration has and that isn't given is fresh too: an adapter holds its
    own.
    """
    if tiles is None and config.tile_vision_config is not None:
        tile_config: Any = config.tile_vision_config
        tiles = AutoModel.from_config(tile_config, dtype=dtype)
    base: ClassicForConditionalGeneration = without_numbers(ClassicForConditionalGeneration, config)
    base.model.vision_tower = tower
    base.model.language_model = lm.base_model
    base.lm_head = lm.get_output_embeddings()
    base.model.multi_modal_projector = fresh_projector(config).to(dtype)
    if base.model.place is not None:
        base.model.place = PlaceEmbedding(
            base.model.place.num_embeddings, base.model.place.embedding_dim, dtype=dtype
        )
        base.model._init_weights(base.model.place)
    if base.model.token_norm is not None:
        base.model.token_norm = TokenNorm(base.model.token_norm.normalized_shape, dtype=dtype)
        base.model._init_weights(base.model.token_norm)
    if tiles is not None:
        base.model.tile_tower = tiles
        base.model.tile_projector = make_projector(config, config.width_of(tiles.config)).to(dtype)
    if base.model.newline is not None:
        base.model.newline = nn.Embedding(1, base.model.newline.embedding_dim, dtype=dtype)
        base.model._init_weights(base.model.newline)
    base.generation_config = lm.generation_config
    return base


def fresh_projector(config: ClassicConfig) -> nn.Module:
    """Make the projector of a composition with random numbers, without making the rest."""
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
