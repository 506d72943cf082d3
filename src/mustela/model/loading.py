"""Loading models from folders, and the ones that come with the package by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import ADAPTER_FILE, is_adapter, read_adapter
from mustela.model.adapter_loading import load_adapter
from mustela.model.configuration import MustelaConfig
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.origin import origin_of
from mustela.model.packaged import packaged_models, resolve_model_path
from mustela.model.quantisation import Quantisation, loading_options, mark_quantised

__all__ = ["is_mustela_model", "load_model", "packaged_models", "quantisation_for", "resolve_model_path"]


def is_mustela_model(path: str | Path) -> bool:
    """Tell from its files whether a folder holds a mustela model."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return False
    return bool(json.loads(file.read_text(encoding="utf-8")).get("model_type") == MustelaConfig.model_type)


def load_model(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    base: str | Path | None = None,
    base_vision_tower: str | Path | None = None,
    quantisation: Quantisation | None = None,
    **kwargs: Any,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Load a model, or an adapter on its base, and the processor.

    Args:
        path: a model's or adapter's folder, a run's folder (its `final/` is taken) or the name of a packaged
            model. What it holds is read from its files.
        device: where to put it; None: an accelerator if there is one, else the CPU.
        dtype: of its weights.
        base: where an adapter's base lies, if no longer where it was in training.
        base_vision_tower: the same for the vision tower of a classic composition.
        quantisation: of the language model; None: in full.
        kwargs: passed to `from_pretrained`.

    Raises:
        CheckpointError: no mustela model there, or an adapter without its base; the message says what was
            looked for.
        ConfigError: a base was given, but the folder holds a whole model.
    """
    folder = resolve_model_path(path)
    if not is_mustela_model(folder):
        raise CheckpointError(
            f"{folder} holds no mustela model: looked for a config.json with model_type"
            f" {MustelaConfig.model_type!r}, and for {ADAPTER_FILE} of an adapter."
            " To give regions to another model, train with --model_name_or_path."
        )
    if device is None:
        device = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        ) or "cpu"
    if is_adapter(folder):
        model = load_adapter(
            folder,
            base=base,
            base_vision_tower=base_vision_tower,
            dtype=dtype,
            quantisation=quantisation,
            device=device,
            **kwargs,
        )
    else:
        if base is not None or base_vision_tower is not None:
            raise ConfigError(f"{folder} is a whole model, which needs no base: leave --base out.")
        quantised = loading_options(quantisation, device=device)
        model = MustelaForConditionalGeneration.from_pretrained(folder, dtype=dtype, **quantised, **kwargs)
        if quantisation is not None:
            mark_quantised(model, model)
        model.origin = origin_of(model, "mustela", path if path in packaged_models() else folder, None)
    return model.to(device).eval(), MustelaProcessor.from_pretrained(folder)  # type: ignore[arg-type]


def quantisation_for(path: str | Path, bits: int | None) -> Quantisation | None:
    """Return how to store a model's language model in `bits`; None: in full.

    An adapter that was trained on a base of as many bits gets the same kind of numbers again.
    """
    if bits is None:
        return None
    folder = resolve_model_path(path)
    trained = read_adapter(folder).quantisation if is_adapter(folder) else None
    if trained is not None and trained.bits == bits:
        return trained
    return Quantisation(bits=4 if bits == 4 else 8)
