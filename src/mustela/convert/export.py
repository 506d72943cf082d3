"""Handing a model over: a plain folder with its card, or the projector or the region encoder alone."""

from __future__ import annotations

import fnmatch
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from mustela.convert.card import CardFields, write_card
from mustela.convert.checkpoint import Checkpoint
from mustela.convert.plan import Part, Step, plan_steps
from mustela.convert.writing import new_folder, write_shard, write_weights
from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError
from mustela.model.adapter import is_adapter
from mustela.model.configuration import MustelaConfig
from mustela.model.loading import is_mustela_model, load_model, resolve_model_path
from mustela.model.wrapping import tensor_shapes

__all__ = ["Only", "export_model"]

Only = Literal["projector", "region_encoder"]

_PROJECTOR = "base.model.multi_modal_projector."
_REGIONS = "region_encoder."
# The original's names, so that its program loads the file too.
_SEQUENTIAL = {"linear_1": "0", "linear_2": "2"}
_FILES = {"projector": "mm_projector.safetensors", "region_encoder": "region_encoder.safetensors"}


def export_model(
    model: str | Path,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    adapter: Path | None = None,
    only: Only | None = None,
    fields: CardFields | None = None,
    shard_bytes: int = 5 * 10**9,
) -> Path:
    """Write a folder that others can load, with a model card.

    Args:
        model: a model's folder, a run's folder or the name of a packaged model.
        folder: the new folder; it appears when it is complete.
        dtype: of the numbers; None keeps them.
        adapter: folder of a PEFT adapter that is merged.
        only: write this part alone, as one safetensors file.
        fields: what the card says that no file knows.
        shard_bytes: bytes of a file at most.

    Returns:
        The folder.

    Raises:
        CheckpointError: there is no model, tensors are missing, or the part doesn't exist.
    """
    place = resolve_model_path(model)
    if not is_mustela_model(place):
        raise CheckpointError(f"{place} holds no mustela model: looked for its config.json.")
    for given in (place, adapter):
        if given is not None and is_adapter(given):
            raise CheckpointError(
                f"{given} is an adapter that mustela trained, with parts that are trained whole. "
                f"Merge it first: mustela merge {given} OUT"
            )
    config = MustelaConfig.from_pretrained(place)
    processor = MustelaProcessor.from_pretrained(place)
    steps = _stored(place, config, dtype) if adapter is None else _merged(place, adapter, dtype)
    config.dtype = next(step.dtype for step in steps if step.dtype.is_floating_point)
    whole = "A region-level vision-language model; `mustela ask` and `mustela.infer.Predictor` load it."
    with new_folder(folder) as part:
        if only is None:
            write_weights(steps, part, shard_bytes=shard_bytes)
            processor.save_pretrained(part)
            if (place / "generation_config.json").is_file():
                shutil.copy(place / "generation_config.json", part)
        else:
            write_shard(_part(steps, only), part / _FILES[only])
            whole = (
                f"The {only.replace('_', ' ')} of a region-level vision-language model; `mustela train "
                f"--pretrain_mm_mlp_adapter {_FILES[only]}` starts from it."
            )
        write_card(
            part,
            name=folder.name,
            config=config,
            template=processor.template.name,
            run=_run_of(Path(model), place),
            fields=fields or CardFields(),
            what=whole,
        )
        if only is None:
            config.save_pretrained(part)
    return folder


def _stored(place: Path, config: MustelaConfig, dtype: torch.dtype | None) -> list[Step]:
    checkpoint = Checkpoint.of_folder(place)
    found = next(stored.dtype for stored in checkpoint.tensors.values() if stored.dtype.is_floating_point)
    targets = _existing(tensor_shapes(config), checkpoint)
    plan = plan_steps(targets, [Part("model", checkpoint, str)], dtype=dtype or found)
    plan.check(allow_unread=(), allow_missing=())
    return plan.steps


def _existing(targets: dict[str, tuple[int, ...]], checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Leave out the head of a base that ties it to the embeddings in a way of its own."""
    head = "base.lm_head.weight"
    return {name: shape for name, shape in targets.items() if name != head or name in checkpoint.tensors}


def _merged(place: Path, adapter: Path, dtype: torch.dtype | None) -> list[Step]:
    from peft import PeftModel

    if not (adapter / "adapter_config.json").is_file():
        raise CheckpointError(f"{adapter} is no PEFT adapter: it has no adapter_config.json.")
    model, _ = load_model(place, device="cpu")
    merged: Any = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    wanted = dtype or next(iter(Checkpoint.of_folder(place).tensors.values())).dtype
    steps = []
    for name in tensor_shapes(merged.config):
        tensor = merged.state_dict()[name]
        kept = wanted if tensor.is_floating_point() else tensor.dtype
        make = partial(torch.Tensor.detach, tensor)
        steps.append(Step(name, tuple(tensor.shape), kept, (name,), "merged", None, make))
    return steps


def _part(steps: list[Step], only: Only) -> list[Step]:
    prefix = _PROJECTOR if only == "projector" else _REGIONS
    found = [step for step in steps if fnmatch.fnmatchcase(step.name, f"{prefix}*")]
    if not found:
        raise CheckpointError(f"The model has no {only.replace('_', ' ')} of its own to export.")
    if only == "region_encoder":
        return found
    return [replace(step, name=f"model.mm_projector.{_old_layer(step.name)}") for step in found]


def _old_layer(name: str) -> str:
    layer, _, rest = name.removeprefix(_PROJECTOR).rpartition(".")
    return f"{_SEQUENTIAL.get(layer, layer)}.{rest}" if layer else rest


def _run_of(given: Path, place: Path) -> Path:
    """Return the folder with the files of the run that made a model."""
    if place.name == "final" and (place.parent / "config.yaml").is_file():
        return place.parent
    return given if (given / "config.yaml").is_file() else place
