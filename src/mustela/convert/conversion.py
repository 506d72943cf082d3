"""Making a mustela folder of a Ferret or LLaVA folder."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast

from mustela.constants import REGION_TOKEN
from mustela.convert.adapter import LoraFolder, read_lora, write_adapter
from mustela.convert.checkpoint import Checkpoint, has_weights
from mustela.convert.layouts import Layout, pick_image_processor, projector_type, read_layout
from mustela.convert.names import our_name, our_tower_name
from mustela.convert.plan import Part, plan_steps
from mustela.convert.report import Conversion, write_report
from mustela.convert.writing import new_folder, write_weights
from mustela.data.processor import MustelaProcessor
from mustela.data.tokenizer import load_tokenizer
from mustela.errors import CheckpointError
from mustela.model.assembly import classic_config, classic_processor, picture_marks
from mustela.model.build import fresh_projector
from mustela.model.configuration import MustelaConfig
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.region_encoders import build_region_encoder
from mustela.model.settings import ClassicSettings, RegionSettings
from mustela.model.tokens import add_tokens, added_tokens
from mustela.model.wrapping import end_ids, mustela_config, tensor_shapes

__all__ = ["ConversionOptions", "convert_ferret", "convert_llava"]

_EMBEDDINGS = "base.model.language_model.embed_tokens.weight"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


@dataclass(frozen=True)
class ConversionOptions:
    """What a conversion may be told.

    Attributes:
        base: folder of the language model that a delta or a LoRA adapter belongs to.
        delta: the source holds differences to `base`.
        vision_tower: folder of the vision tower, where the source has none.
        version: template; None is the one that this kind of model was trained with.
        image_aspect_ratio: how pictures are fitted; None is as the source says or was trained.
        pooling: of the sampler, where the source doesn't say.
        lora: merge a LoRA adapter, or write it beside the model.
        dtype: of the new model; None is that of the source's embeddings.
        allow_unread: patterns of the source's names that may be left out.
        allow_missing: patterns of names of the projector or region encoder that may be made afresh.
        shard_bytes: bytes of a file at most.
        seed: of what is made afresh.
    """

    base: Path | None = None
    delta: bool = False
    vision_tower: Path | None = None
    version: str | None = None
    image_aspect_ratio: Literal["square_nocrop", "pad"] | None = None
    pooling: Literal["max", "mean"] | None = None
    lora: Literal["merge", "adapter"] = "merge"
    dtype: torch.dtype | None = None
    allow_unread: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()
    shard_bytes: int = 5 * 10**9
    seed: int = 0


@dataclass(frozen=True)
class _Source:
    """Where the tensors and files of a conversion come from."""

    folder: Path
    layout: Layout
    parts: list[Part]
    delta_base: Part | None
    lora: LoraFolder | None
    places: list[Path]
    tower: Path | None
    names: set[str] = field(default_factory=set)

    @property
    def region_encoder(self) -> Literal["geo", "mean"] | None:
        """Kind of the region encoder that the source has."""
        if any(name.startswith("region_encoder.stages.") for name in self.names):
            return "geo"
        return "mean" if any(name.startswith("region_encoder.projection.") for name in self.names) else None


def convert_ferret(source: Path, folder: Path, options: ConversionOptions | None = None) -> Conversion:
    """Make a mustela folder of a Ferret folder: full weights, a delta, or a LoRA adapter.

    Args:
        source: the folder.
        folder: the new one; it appears when it is complete.
        options: see `ConversionOptions`.

    Raises:
        CheckpointError: files or tensors are missing, or don't fit the configuration.
    """
    options = options or ConversionOptions()
    found = _open(source, options)
    kind = found.region_encoder
    if kind is None:
        raise CheckpointError(
            f"{source} has no region encoder (region_geo_sampler or region_fea_adapter). If it is a LLaVA: "
            "mustela convert llava."
        )
    pooling = options.pooling or found.layout.pooling
    if kind == "geo" and pooling is None:
        raise CheckpointError(
            f"{source}/config.json has no sampler_pooler_mode: give --sampler_pooler_mode max or mean, as it "
            "was trained."
        )
    regions = RegionSettings(encoder=kind, geometry="original", pooling=pooling or "mean")
    return _convert(found, folder, options, regions=regions, version="v1", aspect="square_nocrop")


def convert_llava(
    source: Path,
    folder: Path,
    options: ConversionOptions | None = None,
    *,
    regions: RegionSettings | None = None,
) -> Conversion:
    """Make a mustela folder of a LLaVA 1.5 folder, in the authors' or in transformers' layout.

    Args:
        source: the folder.
        folder: the new one; it appears when it is complete.
        options: see `ConversionOptions`.
        regions: the region encoder that is made afresh.

    Raises:
        CheckpointError: files or tensors are missing, or don't fit the configuration.
    """
    options = options or ConversionOptions()
    found = _open(source, options)
    if found.region_encoder is not None:
        raise CheckpointError(f"{source} has a region encoder: mustela convert ml-ferret takes it over.")
    regions = regions or RegionSettings()
    return _convert(found, folder, options, regions=regions, version="llava_v1", aspect="pad")


def _open(source: Path, options: ConversionOptions) -> _Source:
    if not source.is_dir():
        raise CheckpointError(f"{source}: there is no such folder.")
    is_lora = (source / "adapter_config.json").is_file()
    if options.delta and (options.base is None or is_lora):
        raise CheckpointError(
            "--delta: give --base DIR, the language model that the differences are to be added to."
            if options.base is None
            else f"{source} is a LoRA adapter and no delta: leave out --delta."
        )
    if options.base is not None and not (options.delta or is_lora):
        raise CheckpointError(f"{source} holds whole weights, so --base isn't used: leave it out.")
    if is_lora and options.base is None:
        raise CheckpointError(f"{source} is a LoRA adapter: give --base DIR, the model it was trained on.")
    tower = source / "vision_tower"
    place = tower if (tower / "config.json").is_file() else options.vision_tower
    layout = read_layout(source, tower=place)
    lora = read_lora(source) if is_lora else None
    parts: list[Part] = []
    base = Part("base", Checkpoint.of_folder(options.base), our_name) if options.base is not None else None
    if lora is not None:
        parts.append(Part("adapter", lora.adapter, lora.other_name))
        parts += [Part("trained beside it", lora.others, our_name)] if lora.others is not None else []
        parts += [base] if base is not None else []
    else:
        parts.append(Part("checkpoint", Checkpoint.of_folder(source), our_name))
    if not layout.is_ready and place is not None and has_weights(place):
        parts.append(Part("vision tower", Checkpoint.of_folder(place), our_tower_name))
    names = {name for part in parts for old in part.checkpoint.tensors if (name := part.name_of(old))}
    places = [source] + ([options.base] if options.base is not None else [])
    return _Source(source, layout, parts, base if options.delta else None, lora, places, place, names)


def _convert(
    found: _Source,
    folder: Path,
    options: ConversionOptions,
    *,
    regions: RegionSettings,
    version: str,
    aspect: Literal["square_nocrop", "pad"],
) -> Conversion:
    layout = found.layout
    size = int(layout.vision_config.image_size)
    told = layout.image_aspect_ratio if layout.image_aspect_ratio in ("square_nocrop", "pad") else None
    classic = ClassicSettings(
        image_wh=(size, size),
        select_layer=layout.select_layer,
        select_feature=layout.select_feature,
        projector_type=projector_type(found.folder, found.names),
        image_aspect_ratio=options.image_aspect_ratio or told or aspect,
        use_im_start_end=layout.use_im_start_end,
    )
    tokenizer, original_size = _tokenizer(found, classic)
    config = _config(found, tokenizer, original_size, classic=classic, regions=regions)
    processor = classic_processor(
        config.base_config,  # type: ignore[arg-type]
        tokenizer,
        pick_image_processor([found.tower, *found.places]),
        version=options.version or version,
        regions=regions,
        classic=classic,
    )
    if regions.geometry == "original":
        processor = MustelaProcessor(
            processor.base_processor,
            processor.template,
            replace(processor.settings, point_clamp="last_pixel"),
        )
    dtype = options.dtype or _dtype(found)
    keeps_adapter = found.lora is not None and options.lora == "adapter"
    plan = plan_steps(
        tensor_shapes(config),
        found.parts,
        dtype=dtype,
        delta_base=found.delta_base,
        lora=found.lora.lora if found.lora is not None and not keeps_adapter else None,
        fresh=_fresh(config, found, options, dtype),
    )
    plan.check(allow_unread=options.allow_unread, allow_missing=options.allow_missing)
    settings = {
        "template": processor.template.name,
        "region_encoder": config.region_encoder,
        "sampling_geometry": config.sampling_geometry,
        "sampler_pooler_mode": config.sampler_pooler_mode if regions.encoder == "geo" else None,
        "region_token_id": config.region_token_id,
        "projector_type": classic.projector_type,
        "vision_feature_layer": classic.select_layer,
        "image_aspect_ratio": classic.image_aspect_ratio,
        "rows_in_the_original": original_size,
        "dtype": str(dtype).removeprefix("torch."),
    }
    with new_folder(folder) as part:
        write_weights(plan.steps, part, shard_bytes=options.shard_bytes)
        processor.save_pretrained(part)
        _generation_config(found, tokenizer).save_pretrained(part)
        if keeps_adapter and found.lora is not None:
            write_adapter(found.lora, folder, part / "adapter")
        asked = {"source": found.folder, "base": options.base, "delta": options.delta, "lora": options.lora}
        done = write_report(part, plan, folder=folder, asked=asked, settings=settings)
        # Last, so that even a folder that was moved by hand before it was complete doesn't load.
        config.dtype = dtype
        config.save_pretrained(part)
    return done


def _tokenizer(found: _Source, classic: ClassicSettings) -> tuple[PreTrainedTokenizerFast, int]:
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
        if part.name_of(old) == _EMBEDDINGS
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


def _config(
    found: _Source,
    tokenizer: PreTrainedTokenizerFast,
    original_size: int,
    *,
    classic: ClassicSettings,
    regions: RegionSettings,
) -> MustelaConfig:
    text: Any = found.layout.text_config
    text.vocab_size = max(original_size, len(tokenizer))
    base = classic_config(text, found.layout.vision_config, tokenizer, classic)
    base.silent_token_ids = list(range(original_size, text.vocab_size))
    config = mustela_config(base, tokenizer, regions)
    config.architectures = [MustelaForConditionalGeneration.__name__]
    return config


def _fresh(
    config: MustelaConfig, found: _Source, options: ConversionOptions, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Make what the source doesn't have and needn't have: LLaVA's region encoder, and what was allowed."""
    base: Any = config.base_config
    asked = options.allow_missing
    makes_encoder = found.region_encoder is None or any(name.startswith("region") for name in asked)
    made: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        if makes_encoder and config.region_encoder != "none":
            encoder: Any = build_region_encoder(
                config, channels=base.layer_width, hidden_size=config.get_text_config().hidden_size
            )
            made |= {f"region_encoder.{name}": value for name, value in encoder.state_dict().items()}
        if asked:
            projector = fresh_projector(base)
            made |= {
                f"base.model.multi_modal_projector.{name}": value
                for name, value in projector.state_dict().items()
            }
    return {
        name: value.to(dtype)
        for name, value in made.items()
        if (name.startswith("region_encoder.") and found.region_encoder is None)
        or any(fnmatch.fnmatchcase(name, pattern) for pattern in asked)
    }


def _dtype(found: _Source) -> torch.dtype:
    return next(
        stored.dtype
        for part in reversed(found.parts)
        for old, stored in part.checkpoint.tensors.items()
        if part.name_of(old) == _EMBEDDINGS
    )


def _generation_config(found: _Source, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    file = found.folder / "generation_config.json"
    config = GenerationConfig.from_pretrained(found.folder) if file.is_file() else GenerationConfig()
    config.eos_token_id = end_ids(config.eos_token_id, tokenizer)
    config.bos_token_id = tokenizer.bos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    return config
