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
from mustela.errors import CheckpointError, ConfigError
from mustela.model.adapter import is_adapter
from mustela.model.adapter_loading import load_adapter
from mustela.model.configuration import MustelaConfig
from mustela.model.loading import is_mustela_model, resolve_model_path
from mustela.model.merging import merge
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.wrapping import tensor_shapes

__all__ = ["Only", "export_model"]

Only = Literal["projector", "region_encoder"]

_PROJECTOR = "base.model.multi_modal_projector."
_REGIONS = "region_encoder."
_HEAD = "base.lm_head.weight"
# The original's names, so that its program loads the file too.
_SEQUENTIAL = {"linear_1": "0", "linear_2": "2"}
_FILES = {"projector": "mm_projector.safetensors", "region_encoder": "region_encoder.safetensors"}


def export_model(
    model: str | Path,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    adapter: Path | None = None,
    base: str | Path | None = None,
    base_vision_tower: str | Path | None = None,
    only: Only | None = None,
    fields: CardFields | None = None,
    shard_bytes: int = 5 * 10**9,
) -> Path:
    """Write a folder that others can load, with a model card.

    Args:
        model: a model's folder, a run's folder or the name of a packaged model; an adapter that mustela wrote
            is merged into its base.
        folder: the new folder; it appears when it is complete.
        dtype: of the numbers; None keeps them.
        adapter: folder of an adapter that is merged, PEFT's or mustela's.
        base: where an adapter's base lies, if no longer where it was in training.
        base_vision_tower: the same for the vision tower of a classic composition.
        only: write this part alone, as one safetensors file.
        fields: what the card says that no file knows.
        shard_bytes: bytes of a file at most.

    Returns:
        The folder.

    Raises:
        CheckpointError: there is no model, tensors are missing, or the part doesn't exist.
        ConfigError: a base was given for a whole model, or an adapter for an adapter.
    """
    place = resolve_model_path(model)
    if not is_mustela_model(place):
        raise CheckpointError(f"{place} holds no mustela model: looked for its config.json.")
    if is_adapter(place) and adapter is not None:
        raise ConfigError(f"{place} is an adapter already, merged into its base: leave --adapter out.")
    if not is_adapter(place) and (base is not None or base_vision_tower is not None):
        raise ConfigError(f"{place} is a whole model, which needs no base: leave --base out.")
    config = MustelaConfig.from_pretrained(place)
    processor = MustelaProcessor.from_pretrained(place)
    if is_adapter(place):
        merged = load_adapter(place, base=base, base_vision_tower=base_vision_tower, dtype="auto")
        merge(merged)
        steps = _made(merged, dtype)
    elif adapter is not None:
        steps = _made(_merged(place, adapter), dtype)
    else:
        steps = _stored(place, config, dtype)
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
    return {name: shape for name, shape in targets.items() if name != _HEAD or name in checkpoint.tensors}


def _merged(place: Path, adapter: Path) -> Any:
    """Return a model with an adapter merged into it."""
    if is_adapter(adapter):
        model = load_adapter(adapter, base=place, dtype="auto")
        merge(model)
        return model
    from peft import PeftModel

    if not (adapter / "adapter_config.json").is_file():
        raise CheckpointError(f"{adapter} is no adapter: it has no adapter_config.json.")
    whole = MustelaForConditionalGeneration.from_pretrained(place, dtype="auto")
    return PeftModel.from_pretrained(whole, adapter).merge_and_unload()


def _made(model: Any, dtype: torch.dtype | None) -> list[Step]:
    """List the tensors of a model in memory, without a head that shares the embeddings."""
    tensors = model.state_dict()
    shared = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    steps = []
    for name in tensor_shapes(model.config):
        if shared and name == _HEAD:
            continue
        tensor = tensors[name]
        kept = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
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
