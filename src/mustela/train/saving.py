"""What a run leaves behind: the final model, the projector and the vision tower by themselves."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mustela.config.training import TrainingArguments
from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError
from mustela.train.adapters import save_adapter
from mustela.train.checkpoint import mark_complete, put_in_place
from mustela.train.freezing import VISION_TOWER, Learning, Parts
from mustela.train.projector import FILE_NAME, save_projector
from mustela.train.trainer import MustelaTrainer

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def final_dtype(training: TrainingArguments) -> torch.dtype:
    """Return the numbers of the final model: as asked for, or those of the training."""
    if training.save_dtype != "auto":
        return _DTYPES[training.save_dtype]
    if training.bf16:
        return torch.bfloat16
    return torch.float16 if training.fp16 else torch.float32


def gathered(trainer: MustelaTrainer) -> Mapping[str, Tensor]:
    """Return all weights whole on the CPU, in the main process at least; all processes call it."""
    accelerator = trainer.accelerator
    tensors: dict[str, Tensor] = dict(accelerator.get_state_dict(trainer.model_wrapped) or {})
    model: Any = accelerator.unwrap_model(trainer.model)
    # Gathering makes two of a tensor that two names share.
    tied = model.all_tied_weights_keys.items()
    shared = {name: tensors[source] for name, source in tied if source in tensors}
    return {**tensors, **shared}


def save_model(
    trainer: MustelaTrainer,
    processor: MustelaProcessor,
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
    first_values: Path,
) -> None:
    """Write model, or adapter, and processor in one step: the folder is there and complete, or not there.

    All processes call it, the main one writes the gathered `weights`.

    Raises:
        CheckpointError: a tensor is empty, as when it is sharded over processes and was not gathered.
    """
    if trainer.args.should_save:
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        if model.adapter is None:
            _check_gathered(weights)
            model.save_pretrained(part, state_dict=cast(weights, dtype))
        else:
            save_adapter(model, part, dtype=dtype, state_dict=weights, first_values=first_values)
        _note_dtype(model, part, dtype)
        processor.save_pretrained(part)
        name = str(dtype).removeprefix("torch.")
        mark_complete(part, {"step": trainer.state.global_step, "dtype": name})
        put_in_place(part, folder)
    trainer.accelerator.wait_for_everyone()


def _check_gathered(tensors: Mapping[str, Tensor]) -> None:
    empty = [name for name, tensor in tensors.items() if tensor.numel() == 0]
    if empty:
        raise CheckpointError(
            f"{', '.join(empty[:3])} is empty here: it is sharded over processes and was not gathered before "
            "saving."
        )


def save_parts(
    trainer: MustelaTrainer,
    processor: MustelaProcessor,
    root: Path,
    *,
    weights: Mapping[str, Tensor],
    learning: Learning,
    projector: bool,
    vision_tower: bool,
) -> None:
    """Write the projector (with the region encoder) and the vision tower by themselves, where asked for.

    Raises:
        CheckpointError: the model has no vision tower that stands by itself.
    """
    if not trainer.args.should_save:
        return
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    dtype = final_dtype(trainer.args)
    if projector:
        by_token: dict[str, Tensor] = {}
        for name, rows in learning.new_rows.items():
            tokens = processor.tokenizer.convert_ids_to_tokens(rows)
            by_token = dict(zip(tokens, weights[name][rows], strict=True))
        save_projector(weights, root / FILE_NAME, parts=learning.parts, rows=by_token, dtype=dtype)
    if vision_tower:
        name, module = _vision_module(model, learning.parts)
        folder = root / VISION_TOWER
        start = f"{name}."
        own = {key.removeprefix(start): weights[key] for key in weights if key.startswith(start)}
        module.save_pretrained(folder, state_dict=cast(own, dtype))
        processor.image_processor.save_pretrained(folder)


def cast(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Convert floating-point tensors; names that share one tensor go on sharing one, to be written once."""
    made: dict[tuple[int, torch.Size], Tensor] = {}
    out = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in made:
            whole = tensor.detach().cpu()
            made[key] = whole.to(dtype) if whole.is_floating_point() else whole
        out[name] = made[key]
    return out


def _note_dtype(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Write the type of the saved numbers into the saved configuration only."""
    before = model.config.dtype
    model.config.dtype = dtype
    model.config.save_pretrained(folder)
    model.config.dtype = before


def _vision_module(model: Any, parts: Parts) -> tuple[str, PreTrainedModel]:
    """Find the outermost module that holds exactly the vision tower's parameters, and its name."""
    names = set(parts.get(VISION_TOWER, ()))
    for name, module in model.named_modules():
        own = {f"{name}.{inner}" for inner, _ in module.named_parameters()}
        if own and own == names and isinstance(module, PreTrainedModel):
            return name, module
    raise CheckpointError("save_vision_tower: the model has no vision tower of its own. Leave it out.")
