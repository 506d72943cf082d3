"""From an adapter's folder and its base to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from mustela.errors import CheckpointError
from mustela.model.adapter import (
    Adapter,
    is_adapter,
    place_new_rows,
    place_tensors,
    read_adapter,
    read_adapter_tensors,
)
from mustela.model.composing import assemble, load_parts, make_room
from mustela.model.configuration import MustelaConfig
from mustela.model.lora import DEFAULT_NAME, attach_lora
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.origin import Origin, check_origin, looks_local, origin_of
from mustela.model.packaged import resolve_model_path
from mustela.model.quantisation import Quantisation, loading_options, mark_quantised
from mustela.model.wrapping import wrap_as


def load_adapter(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    base_vision_tower: str | Path | None = None,
    dtype: torch.dtype | str = torch.float32,
    quantisation: Quantisation | None = None,
    device: str | torch.device = "cpu",
    **kwargs: Any,
) -> MustelaForConditionalGeneration:
    """Load a base and put what an adapter learned into it.

    Args:
        folder: of the adapter, under any name.
        base: where the base lies, if no longer where it was in training.
        base_vision_tower: the same for the vision tower, which a classic composition has beside the base.
        dtype: of all weights, the adapter's too; `auto`: as each part of the base is stored.
        quantisation: of the base's language model; None: in full, however it was trained.
        device: where a quantised model goes; any other goes to the CPU.
        kwargs: passed to the `from_pretrained` of the base.

    Raises:
        CheckpointError: the adapter or its base is missing, incomplete or doesn't fit; the message says what.
    """
    folder = Path(folder)
    adapter = read_adapter(folder)
    tensors = read_adapter_tensors(folder, adapter)
    origin = located(adapter.origin, base=base, base_vision_tower=base_vision_tower, who=str(folder))
    config: Any = MustelaConfig.from_pretrained(folder)
    model = load_base(
        origin, config, dtype=dtype, quantisation=quantisation, device=device, who=str(folder), **kwargs
    )
    put_adapter(model, replace(adapter, origin=origin), tensors, who=str(folder))
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    if quantisation is not None:
        model.to(device)  # type: ignore[arg-type]
    return model


def put_adapter(
    model: MustelaForConditionalGeneration,
    adapter: Adapter,
    tensors: dict[str, torch.Tensor],
    *,
    who: str,
    name: str = DEFAULT_NAME,
) -> None:
    """Put an adapter into the model of its base."""
    place_new_rows(model, adapter.origin.rows, tensors)
    attach_lora(model, adapter.lora, name=name)
    place_tensors(model, tensors, who=who, base=adapter.origin.model, name=name)
    model.adapter = adapter


def located(
    origin: Origin, *, base: str | Path | None, base_vision_tower: str | Path | None, who: str
) -> Origin:
    """Return the base with the places that were given instead of its own.

    Raises:
        CheckpointError: it isn't there.
    """
    model = origin.model if base is None else str(base)
    tower = origin.vision_tower if base_vision_tower is None else str(base_vision_tower)
    if base_vision_tower is not None and origin.vision_tower is None:
        raise CheckpointError(f"{who} has no vision tower beside its base: leave base_vision_tower out.")
    for place, flag in ((model, "--base"), (tower, "--base_vision_tower")):
        if place is not None and looks_local(place) and not Path(place).expanduser().is_dir():
            raise CheckpointError(
                f"{who} is an adapter of {place}, which isn't there. Say where it is with {flag} DIR."
            )
    return replace(origin, model=model, vision_tower=tower)


def load_base(
    origin: Origin,
    config: MustelaConfig,
    *,
    dtype: torch.dtype | str,
    quantisation: Quantisation | None = None,
    device: str | torch.device = "cpu",
    who: str,
    **kwargs: Any,
) -> MustelaForConditionalGeneration:
    """Load a base as a model of mustela, of the given configuration.

    Parts that the base doesn't have are fresh, as are the rows of new tokens.

    Raises:
        CheckpointError: it can't be loaded, or isn't the one that the origin describes.
    """
    options = {"dtype": dtype, **kwargs}
    rows: int | None
    quantised = loading_options(quantisation, device=device)
    try:
        if origin.kind == "mustela":
            path = resolve_model_path(origin.model)
            if is_adapter(path):
                raise CheckpointError(
                    f"{path} is an adapter itself and can't be the base of {who}. Merge it first."
                )
            model = MustelaForConditionalGeneration.from_pretrained(path, **options, **quantised)
            loaded: Any = model
            rows = None
        elif origin.kind == "ready":
            loaded = AutoModelForImageTextToText.from_pretrained(origin.model, **options, **quantised)
            rows = make_room(loaded, _rows(config))
            model = wrap_as(loaded, config)
        else:
            loaded, tower = load_parts(
                origin.model,
                str(origin.vision_tower),
                quantisation=quantisation,
                device=device,
                **options,
            )
            rows = make_room(loaded, _rows(config))
            projector_dtype = dtype if isinstance(dtype, torch.dtype) else torch.float32
            base = assemble(config.base_config, loaded, tower, dtype=projector_dtype)  # type: ignore[arg-type]
            model = wrap_as(base, config)
    except OSError as error:
        raise CheckpointError(
            f"{origin.model}, the base of {who}, can't be loaded ({error}). Say where it is with --base DIR."
        ) from error
    if quantisation is not None:
        mark_quantised(model, loaded)
    found = origin_of(model, origin.kind, origin.model, origin.vision_tower, rows=rows)
    check_origin(origin, found, who=who)
    model.origin = origin
    return model


def _rows(config: MustelaConfig) -> int:
    return int(config.get_text_config().vocab_size)
