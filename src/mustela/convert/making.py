"""What a new model has beside the tensors of the original: tokenizer, configuration, fresh parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from mustela.constants import REGION_TOKEN
from mustela.convert.names import EMBEDDINGS
from mustela.convert.plan import is_allowed
from mustela.convert.source import ConversionOptions, Source
from mustela.data.tokenizer import load_tokenizer
from mustela.errors import CheckpointError
from mustela.model.assembly import classic_config, picture_marks
from mustela.model.composing import fresh_projector
from mustela.model.configuration import MustelaConfig
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.region_encoders import build_region_encoder
from mustela.model.settings import ClassicSettings, RegionSettings
from mustela.model.tokens import add_tokens, added_tokens
from mustela.model.wrapping import end_ids, mustela_config, without_numbers

__all__ = ["fresh_tensors", "generation_config", "model_config", "read_tokenizer"]

_REGIONS = "region_encoder."
_PROJECTOR = "base.model.multi_modal_projector."
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


def read_tokenizer(found: Source, classic: ClassicSettings) -> tuple[PreTrainedTokenizerFast, int]:
    """Return the tokenizer with our tokens, and how many rows the original's embeddings have."""
    place = next(
        (place for place in found.places if any((place / name).is_file() for name in _TOKENIZER_FILES)), None
    )
    if place is None:
        looked = " and ".join(str(place) for place in found.places)
        raise CheckpointError(f"There is no tokenizer.json or tokenizer.model in {looked}.")
    tokenizer = load_tokenizer(place)
    rows = next(
        part.checkpoint.tensors[old].shape[0]
        for part in found.parts
        for old in part.checkpoint.tensors
        if part.name_of(old) == EMBEDDINGS
    )
    original = max(rows, len(tokenizer))
    wanted = added_tokens(region=REGION_TOKEN, marks=picture_marks(classic))
    if found.layout.region_token_id is not None:
        got = tokenizer.get_added_vocab().get(REGION_TOKEN)
        if got != found.layout.region_token_id:
            raise CheckpointError(
                f"{found.folder}/config.json says that {REGION_TOKEN} is token "
                f"{found.layout.region_token_id}, but for its tokenizer it is {got}. Is added_tokens.json "
                "missing?"
            )
    add_tokens(tokenizer, wanted)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer, original


def model_config(
    found: Source,
    tokenizer: PreTrainedTokenizerFast,
    original_size: int,
    *,
    classic: ClassicSettings,
    regions: RegionSettings,
) -> MustelaConfig:
    """Return the configuration of the new model; tokens that the original doesn't have are silent."""
    text: Any = found.layout.text_config
    text.vocab_size = max(original_size, len(tokenizer))
    base = classic_config(text, found.layout.vision_config, tokenizer, classic)
    base.silent_token_ids = list(range(original_size, text.vocab_size))
    config = mustela_config(base, tokenizer, regions)
    config.architectures = [MustelaForConditionalGeneration.__name__]
    return config


def fresh_tensors(
    config: MustelaConfig,
    found: Source,
    options: ConversionOptions,
    *,
    names: Iterable[str],
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Make what the source doesn't have and needn't have: LLaVA's region encoder, and what was allowed.

    Args:
        config: of the new model.
        found: the source.
        options: names that may be made afresh, and the seed.
        names: of all tensors of the new model.
        dtype: of the numbers.

    Raises:
        CheckpointError: a tensor was allowed that no layer of a known kind holds.
    """
    base: Any = config.base_config
    wanted = [
        name
        for name in names
        if name not in found.names
        and (
            (name.startswith(_REGIONS) and found.region_encoder is None)
            or is_allowed(name, options.allow_missing)
        )
    ]
    made: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        if any(name.startswith(_REGIONS) for name in wanted):
            encoder: Any = build_region_encoder(
                config, channels=base.layer_width, hidden_size=config.get_text_config().hidden_size
            )
            made |= {f"{_REGIONS}{name}": value for name, value in encoder.state_dict().items()}
        if any(name.startswith(_PROJECTOR) for name in wanted):
            projector = fresh_projector(base)
            made |= {f"{_PROJECTOR}{name}": value for name, value in projector.state_dict().items()}
        others = [name for name in wanted if name not in made]
        if others:
            made |= _initialised(config, others)
    return {name: made[name].to(dtype) for name in wanted}


def _initialised(config: MustelaConfig, names: Iterable[str]) -> dict[str, Tensor]:
    """Make tensors as transformers begins to train them, one layer at a time."""
    model = without_numbers(MustelaForConditionalGeneration, config)
    made = {}
    for name in names:
        path, _, leaf = name.rpartition(".")
        layer = model.get_submodule(path).to_empty(device="cpu", recurse=False)
        for parameter in layer.parameters(recurse=False):
            parameter.data.fill_(torch.nan)
        if isinstance(layer, nn.Linear | nn.Embedding | nn.Conv2d | nn.LayerNorm):
            layer.reset_parameters()
        owner = next(
            each
            for end in range(path.count(".") + 1, -1, -1)
            if isinstance(each := model.get_submodule(".".join(path.split(".")[:end])), PreTrainedModel)
        )
        owner._init_weights(layer)
        tensor = dict(layer.named_parameters(recurse=False)).get(leaf)
        if tensor is None or tensor.isnan().any():
            raise CheckpointError(f"--allow_missing: {name} has no beginning, so it can't be made afresh.")
        made[name] = tensor.detach()
    return made


def generation_config(found: Source, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Return how the original generates, with the tokenizer's ids."""
    file = found.folder / "generation_config.json"
    config = GenerationConfig.from_pretrained(found.folder) if file.is_file() else GenerationConfig()
    config.eos_token_id = end_ids(config.eos_token_id, tokenizer)
    config.bos_token_id = tokenizer.bos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    return config
