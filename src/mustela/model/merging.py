"""An adapter and its base as one model that needs neither."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import ADAPTER_FILE, is_adapter
from mustela.model.adapter_loading import load_adapter
from mustela.model.lora import merge_lora
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.packaged import resolve_model_path


def merge(model: MustelaForConditionalGeneration) -> None:
    """Make a model with an adapter a whole model, in place.

    Weights that the adapter didn't touch stay the same bits.

    Raises:
        CheckpointError: its base is quantised, or the adapter holds numbers that are not finite.
    """
    merge_lora(model)
    model.adapter = None


def merge_adapter(
    adapter: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    base_vision_tower: str | Path | None = None,
    dtype: torch.dtype | str = "auto",
) -> Path:
    """Merge an adapter into its base and write the whole model, in one step.

    The base is read in full precision, also where the adapter was trained on a quantised one.

    Args:
        adapter: an adapter's folder, or that of a run.
        out: folder to write; must not be there, or be empty.
        base: where the base lies, if no longer where it was in training.
        base_vision_tower: the same for the vision tower of a classic composition.
        dtype: of the written numbers; `auto`: those of the base.

    Returns:
        The folder.

    Raises:
        CheckpointError: the adapter or its base is missing or incomplete, naming what.
        ConfigError: `out` is taken.
    """
    folder, out = resolve_model_path(adapter), Path(out)
    if not is_adapter(folder):
        raise CheckpointError(f"{folder} holds no adapter to merge: looked for {ADAPTER_FILE}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already and isn't empty: give a new folder.")
    processor = MustelaProcessor.from_pretrained(folder)
    model = load_adapter(folder, base=base, base_vision_tower=base_vision_tower, dtype=dtype)
    merge(model)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    saved: Any = model
    saved.save_pretrained(part)
    processor.save_pretrained(part)
    if out.is_dir():
        out.rmdir()
    part.rename(out)
    return out
