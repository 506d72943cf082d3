"""Making a mustela folder of a Ferret or LLaVA folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from mustela.convert.adapter import write_adapter
from mustela.convert.layouts import pick_image_processor, projector_type
from mustela.convert.making import fresh_tensors, generation_config, model_config, read_tokenizer
from mustela.convert.plan import check_factors, is_allowed, plan_steps
from mustela.convert.report import Conversion, write_report
from mustela.convert.source import ConversionOptions, Source, dtype_of, open_source
from mustela.convert.writing import new_folder, write_weights
from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError
from mustela.model.assembly import classic_processor
from mustela.model.settings import ClassicSettings, RegionSettings
from mustela.model.wrapping import tensor_shapes

__all__ = ["convert_ferret", "convert_llava"]


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
    found = open_source(source, options)
    kind = found.region_encoder
    if kind is None and is_allowed("region_encoder.output.weight", options.allow_missing):
        kind = found.layout.region_encoder
    if kind is None:
        raise CheckpointError(
            f"{source} has no region encoder (region_geo_sampler or region_fea_adapter). If it is a LLaVA: "
            "mustela convert llava. To make one afresh: --allow_missing 'region_encoder.*'."
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
    found = open_source(source, options)
    if found.region_encoder is not None:
        raise CheckpointError(f"{source} has a region encoder: mustela convert ml-ferret takes it over.")
    regions = regions or RegionSettings()
    return _convert(found, folder, options, regions=regions, version="vicuna_v1", aspect="pad")


def _convert(
    found: Source,
    folder: Path,
    options: ConversionOptions,
    *,
    regions: RegionSettings,
    version: str,
    aspect: Literal["square_nocrop", "pad"],
) -> Conversion:
    classic = _classic_settings(found, options, aspect)
    tokenizer, original_size = read_tokenizer(found, classic)
    config = model_config(found, tokenizer, original_size, classic=classic, regions=regions)
    processor = classic_processor(
        config.base_config,  # type: ignore[arg-type]
        tokenizer,
        pick_image_processor([found.tower, *found.places]),
        version=options.version or version,
        regions=regions,
        classic=classic,
    )
    if regions.geometry == "original":
        clamped = replace(processor.settings, point_clamp="last_pixel")
        processor = MustelaProcessor(processor.base_processor, processor.template, clamped)
    dtype = options.dtype or dtype_of(found)
    keeps_adapter = found.lora is not None and options.lora == "adapter"
    targets = tensor_shapes(config)
    plan = plan_steps(
        targets,
        found.parts,
        dtype=dtype,
        delta_base=found.delta_base,
        lora=found.lora.lora if found.lora is not None and not keeps_adapter else None,
        fresh=fresh_tensors(config, found, options, names=targets, dtype=dtype),
    )
    if keeps_adapter and found.lora is not None:
        for name in sorted(found.lora.lora.factors):
            if name in targets:
                check_factors(found.lora.lora, name, targets[name])
            else:
                plan.unread.append(f"adapter: factors of {name}")
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
    config.dtype = dtype
    with new_folder(folder) as part:
        write_weights(plan.steps, part, shard_bytes=options.shard_bytes)
        processor.save_pretrained(part)
        generating = generation_config(found, tokenizer)
        generating.save_pretrained(part)
        if keeps_adapter and found.lora is not None:
            for each in (processor, generating, config):
                each.save_pretrained(part / "adapter")
            write_adapter(found.lora, part, model=folder)
        asked = {"source": found.folder, "base": options.base, "delta": options.delta, "lora": options.lora}
        done = write_report(part, plan, folder=folder, asked=asked, settings=settings)
        # Last, so that even a folder that was moved by hand before it was complete doesn't load.
        config.save_pretrained(part)
    return done


def _classic_settings(
    found: Source, options: ConversionOptions, aspect: Literal["square_nocrop", "pad"]
) -> ClassicSettings:
    layout = found.layout
    size = int(layout.vision_config.image_size)
    is_fresh = is_allowed("base.model.multi_modal_projector.weight", options.allow_missing)
    told = layout.image_aspect_ratio if layout.image_aspect_ratio in ("square_nocrop", "pad") else None
    return ClassicSettings(
        image_wh=(size, size),
        select_layer=layout.select_layer,
        select_feature=layout.select_feature,
        projector_type=projector_type(
            found.folder, found.names, otherwise=layout.projector if is_fresh else None
        ),
        image_aspect_ratio=options.image_aspect_ratio or told or aspect,
        use_im_start_end=layout.use_im_start_end,
    )
