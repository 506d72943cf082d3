"""The adapter folder: what a run learned and on which base; all that a model needs besides its base.

`adapter.json` describes it, `adapter_model.safetensors` holds the low-rank adapters, the parts that were
trained whole and the rows of tokens that the base doesn't have; configuration and processor lie beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mustela.errors import CheckpointError
from mustela.model.lora import DEFAULT_NAME, LoraSettings, is_lora, lora_names, plain_name
from mustela.model.modeling import MustelaForConditionalGeneration
from mustela.model.origin import Origin
from mustela.model.parts import part_of
from mustela.model.quantisation import Quantisation

ADAPTER_FILE = "adapter.json"
TENSORS_FILE = "adapter_model.safetensors"

# What peft puts in front of names, in folders that it loads too.
PEFT_PREFIX = "base_model.model."

_FORMAT = 1
_NEW_ROWS = "new_rows."
# Small beside a language model, and not in every base.
_ALWAYS_HELD = ("projector", "region_tower", "region_encoder")
_TILE_TOWER = "base.model.tile_tower."
# What batch norms of convolutional towers count as they see pictures, and is no parameter.
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Adapter:
    """What an adapter folder holds.

    Attributes:
        origin: the base that it was trained on.
        lora: its low-rank adapters.
        quantisation: how the base was stored in training; None: in full.
        shapes: shape of each tensor, by name.
    """

    origin: Origin
    lora: LoraSettings
    quantisation: Quantisation | None
    shapes: Mapping[str, tuple[int, ...]]


def is_adapter(folder: str | Path) -> bool:
    """Tell from its files whether a folder holds an adapter."""
    return (Path(folder) / ADAPTER_FILE).is_file()


def read_adapter(folder: Path) -> Adapter:
    """Read the description of an adapter.

    Raises:
        CheckpointError: there is none, or it can't be read.
    """
    file = folder / ADAPTER_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read as the description of an adapter: {error}") from error
    if content.get("format") != _FORMAT:
        raise CheckpointError(
            f"{file} has format {content.get('format')!r}; this version of mustela reads {_FORMAT}."
        )
    quantisation = content["quantisation"]
    return Adapter(
        origin=Origin.from_json(content["base"], folder),
        lora=LoraSettings.from_json(content["lora"]),
        quantisation=None if quantisation is None else Quantisation.from_json(quantisation),
        shapes={name: tuple(shape) for name, shape in content["tensors"].items()},
    )


def read_adapter_tensors(folder: Path, adapter: Adapter) -> dict[str, Tensor]:
    """Read the tensors of an adapter, all of them.

    Raises:
        CheckpointError: the file is missing or broken, or a tensor is missing, empty or of another shape than
            described; the message names it.
    """
    file = folder / TENSORS_FILE
    try:
        tensors = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} can't be read as safetensors: {error}") from error
    for name, shape in adapter.shapes.items():
        if name not in tensors:
            raise CheckpointError(f"{file} lacks {name}: the folder wasn't written or copied to the end.")
        if tensors[name].numel() == 0 and 0 not in shape:
            raise CheckpointError(f"{file}: {name} is empty: it was saved sharded, without being gathered.")
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"{file}: {name} is {list(tensors[name].shape)}, but {ADAPTER_FILE} says {list(shape)}."
            )
    return {name: tensors[name] for name in adapter.shapes}


def write_adapter(model: MustelaForConditionalGeneration, folder: Path) -> None:
    """Write a model's adapter: what learns, and whatever its base doesn't have.

    Args:
        model: with adapters.
        folder: made if it isn't there.

    Raises:
        CheckpointError: the model has no adapter, or a tensor is empty (naming it): sharded, not gathered.
    """
    adapter = model.adapter
    if adapter is None:
        raise CheckpointError("The model has no adapter to save; save_pretrained writes it as a whole.")
    write_adapter_files(model, adapter, adapter_tensors(model, adapter), folder)


def write_adapter_files(
    model: MustelaForConditionalGeneration,
    adapter: Adapter,
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write an adapter's folder.

    Args:
        model: for its configuration.
        adapter: description; the shapes are those of `tensors`.
        tensors: from `adapter_tensors`.
        folder: made if it isn't there.
        dtype: of the saved numbers; None: as they are.

    Raises:
        CheckpointError: a tensor is empty (naming it): sharded, not gathered.
    """
    saved = {}
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            raise CheckpointError(
                f"{name} is empty here: it is sharded over processes and was not gathered before saving."
            )
        kept = name.endswith(_STATISTICS)
        number = tensor.dtype if dtype is None or kept else dtype
        saved[name] = tensor.detach().to("cpu", number).contiguous().clone()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(saved, folder / TENSORS_FILE, metadata={"format": "pt"})
    shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    write_description(replace(adapter, shapes=shapes), folder, base=adapter.origin.to_json(folder))
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def write_description(adapter: Adapter, folder: Path, *, base: Mapping[str, Any]) -> None:
    """Write `adapter.json`; `base` is `adapter.origin` in plain values."""
    content = {
        "format": _FORMAT,
        "base": base,
        "lora": adapter.lora.to_json(),
        "quantisation": None if adapter.quantisation is None else adapter.quantisation.to_json(),
        "tensors": {name: list(shape) for name, shape in adapter.shapes.items()},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / ADAPTER_FILE).write_text(text, encoding="utf-8")


def adapter_tensors(
    model: MustelaForConditionalGeneration,
    adapter: Adapter,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return what belongs into an adapter's folder, by name without adapters.

    Args:
        model: with adapters.
        adapter: its description.
        state_dict: the model's tensors, where those of the model itself are sharded.
    """
    own: Mapping[str, Tensor] = {**_statistics(model), **(state_dict or dict(model.named_parameters()))}
    found = {short: own[full] for short, full in lora_names(model).items()}
    if not found:
        raise CheckpointError("The model's adapters are those of an AdapterSet, which are saved already.")
    for full in held_names(model, adapter):
        found[plain_name(full)] = own[full]
    found.update({plain_name(full): own[full] for full in _statistics(model)})
    found.update(new_rows(model, adapter.origin.rows, own))
    return found


def held_names(model: MustelaForConditionalGeneration, adapter: Adapter) -> list[str]:
    """List the full names of the parameters that an adapter holds whole.

    Those that learn, those that an earlier training of the adapter changed, projector and region encoder.
    """
    return [
        full
        for full, parameter in model.named_parameters()
        if not is_lora(full)
        and (
            parameter.requires_grad
            or plain_name(full) in adapter.shapes
            or part_of(full) in _ALWAYS_HELD
            or full.startswith(_TILE_TOWER)
        )
    ]


def _statistics(model: MustelaForConditionalGeneration) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in model.named_buffers() if name.endswith(_STATISTICS)}


def new_rows(
    model: MustelaForConditionalGeneration, rows: int, own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the rows behind the base's own ones, of embedding and head: what new tokens began with."""
    found = {}
    for side, module in _tables(model).items():
        (full,) = (name for name, each in model.named_parameters() if each is module.weight)
        if own[full].shape[0] > rows:
            found[f"{_NEW_ROWS}{side}"] = own[full][rows:]
    return found


def place_new_rows(model: MustelaForConditionalGeneration, rows: int, tensors: Mapping[str, Tensor]) -> None:
    """Put rows that `new_rows` returned into a model without adapters."""
    with torch.no_grad():
        for side, module in _tables(model).items():
            if f"{_NEW_ROWS}{side}" in tensors:
                module.weight[rows:] = tensors[f"{_NEW_ROWS}{side}"].to(module.weight)


def _tables(model: MustelaForConditionalGeneration) -> dict[str, Any]:
    """Return the modules that hold a row a token: the embedding, and the head where it is another tensor."""
    tables: dict[str, Any] = {"embedding": _bare(model.get_input_embeddings())}
    head: Any = _bare(model.get_output_embeddings())
    if head.weight is not tables["embedding"].weight:
        tables["head"] = head
    return tables


def _bare(module: nn.Module) -> nn.Module:
    from peft.utils.other import TrainableTokensWrapper

    return module.original_module if isinstance(module, TrainableTokensWrapper) else module


def place_tensors(
    model: MustelaForConditionalGeneration,
    tensors: Mapping[str, Tensor],
    *,
    who: str,
    base: str,
    name: str = DEFAULT_NAME,
) -> None:
    """Put an adapter's tensors into a model that has its layers.

    Raises:
        CheckpointError: the model lacks one, or has it in another shape; both are named, and whose they are.
    """
    own = {**_statistics(model), **dict(model.named_parameters())}
    places = {plain_name(full): full for full in own if not is_lora(full)} | lora_names(model, name=name)
    with torch.no_grad():
        for short, tensor in tensors.items():
            if short.startswith(_NEW_ROWS):
                continue
            if short not in places:
                raise CheckpointError(f"{who} has {short}, which the model made from {base} lacks.")
            parameter = own[places[short]]
            if parameter.shape != tensor.shape:
                raise CheckpointError(
                    f"{short} is {list(tensor.shape)} in {who} and {list(parameter.shape)} in the model made "
                    f"from {base}: it is another base than the adapter's, or quantised where it mustn't be."
                )
            parameter.copy_(tensor)
