"""Low-rank adapters of a stage: put in, made to learn beside the parts that train whole, and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mustela.config.training import TrainingArguments
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.adapter import Adapter, adapter_tensors, write_adapter_files
from mustela.model.lora import LoraSettings, attach_lora, choose_targets, is_lora, lora_names, plain_name
from mustela.model.parts import part_of
from mustela.model.quantisation import keep_trainable
from mustela.train.build import quantisation_of
from mustela.train.freezing import Freezing

# First values of PiSSA's adapters, kept while the stage trains: what is saved is the difference to them.
FIRST_VALUES = "pissa.safetensors"

_MUST_AGREE = ("r", "alpha", "dropout", "dora", "rslora")


def lora_settings(training: TrainingArguments) -> LoraSettings:
    """Collect the settings of adapters; which layers get one depends on the model."""
    return LoraSettings(
        r=training.lora_r,
        alpha=training.lora_alpha,
        dropout=training.lora_dropout,
        dora=training.lora_use_dora,
        rslora=training.lora_use_rslora,
        targets=(),
    )


def saved_settings(training: TrainingArguments) -> LoraSettings:
    """Return the settings of the adapters that a stage leaves; PiSSA's have twice the rank."""
    made = lora_settings(training)
    return made if training.lora_init == "default" else _doubled(made)


def check_continues(before: LoraSettings, training: TrainingArguments, *, who: str) -> None:
    """Make sure that adapters go on with the settings that they have.

    Raises:
        ConfigError: a setting differs; the message has the flags to give.
    """
    now = lora_settings(training)
    if training.lora_init != "default" or training.lora_target_modules:
        raise ConfigError(
            f"{who} goes on with adapters that are there: lora_init and lora_target_modules are for "
            "fresh ones; leave them out."
        )
    if any(before.__dict__[name] != now.__dict__[name] for name in _MUST_AGREE):
        raise ConfigError(
            f"{who} goes on with adapters of other settings. Give --lora_r {before.r} "
            f"--lora_alpha {before.alpha:g} --lora_dropout {before.dropout:g} --lora_use_dora {before.dora} "
            f"--lora_use_rslora {before.rslora}."
        )


def put_in_adapters(
    model: MustelaForConditionalGeneration,
    training: TrainingArguments,
    *,
    rows: Sequence[int],
    plan: Freezing,
    first_values: Path | None,
) -> None:
    """Put fresh adapters into a model, or make sure that those it has are the ones asked for.

    Args:
        model: with or without adapters.
        training: their settings.
        rows: tokens whose embeddings learn with them.
        plan: what else learns.
        first_values: file that keeps the first values of PiSSA for a resumed run; None: not kept.

    Raises:
        ConfigError: settings that don't fit the model; adapters in a part that learns whole.
    """
    keep_trainable(model)
    settings = lora_settings(training)
    if model.adapter is not None:
        check_continues(model.adapter.lora, training, who="The training")
        model.adapter = replace(model.adapter, quantisation=quantisation_of(training))
        return
    if model.origin is None:
        raise ConfigError("lora_enable: adapters need a base that lies in a folder, and this model is new.")
    targets = choose_targets(model, training.lora_target_modules)
    whole = sorted({part_of(f"{name}.") for name in targets if plan.learns(part_of(f"{name}."))})
    if whole:
        raise ConfigError(
            f"lora_target_modules: the {whole[0]} trains whole. Freeze it to give it adapters instead."
        )
    if rows and training.shares_out and model.all_tied_weights_keys:
        raise ConfigError(
            "fsdp can't share out an embedding that is the head, too, while rows of it learn beside adapters "
            "(mm_use_im_start_end). Leave out --fsdp, or take --deepspeed with ZeRO-2."
        )
    settings = replace(settings, targets=targets, rows=tuple(rows))
    if training.lora_init != "default" and first_values is not None and first_values.is_file():
        attach_lora(model, settings)
        _take_out(model, load_file(first_values), settings.scaling)
    else:
        attach_lora(model, settings, init=training.lora_init)
        if training.lora_init != "default" and first_values is not None and training.should_save:
            first_values.parent.mkdir(parents=True, exist_ok=True)
            part = first_values.with_suffix(".part")
            save_file({key: tensor.contiguous() for key, tensor in _matrices(model).items()}, part)
            part.replace(first_values)
    model.adapter = Adapter(model.origin, settings, quantisation_of(training), shapes={})


def make_learn(model: MustelaForConditionalGeneration, training: TrainingArguments) -> tuple[str, ...]:
    """Let biases learn as asked for, and give all that learns numbers of full precision.

    Returns:
        Names of parameters that must not decay: embeddings of tokens, and the lengths that DoRA learns.
    """
    under_adapters = {name.rpartition(".")[0] for name, _ in model.named_parameters() if is_lora(name)}
    modules = {name.rpartition(".lora_")[0] for name in under_adapters}
    for name, parameter in model.named_parameters():
        if name.endswith(".bias") and part_of(name) == "language_model" and not is_lora(name):
            owner = name.removesuffix(".bias").removesuffix(".base_layer")
            if training.lora_bias == "all" or (training.lora_bias == "lora_only" and owner in modules):
                parameter.requires_grad_(True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return tuple(
        name
        for name, _ in model.named_parameters()
        if "trainable_tokens_delta" in name or "lora_magnitude_vector" in name
    )


def save_adapter(
    model: MustelaForConditionalGeneration,
    folder: Path,
    *,
    dtype: torch.dtype,
    state_dict: Mapping[str, Tensor],
    first_values: Path,
) -> None:
    """Write the adapter of a stage.

    PiSSA's is written as the difference to its first values, of twice the rank, so that it rests on the base
    as it is and not on what PiSSA left of it.

    Raises:
        CheckpointError: a tensor is empty (naming it): sharded, not gathered.
    """
    adapter = model.adapter
    if adapter is None:
        raise ConfigError("The model has no adapter to save.")
    tensors = adapter_tensors(model, adapter, state_dict=state_dict)
    if first_values.is_file():
        for key, first in load_file(first_values).items():
            is_input = ".lora_A." in key
            learned = tensors[key].detach().cpu().float()
            both = [learned, first.float() if is_input else -first.float()]
            tensors[key] = torch.cat(both, dim=0 if is_input else 1)
        adapter = replace(adapter, lora=_doubled(adapter.lora))
    write_adapter_files(model, adapter, tensors, folder, dtype=dtype)


def _doubled(settings: LoraSettings) -> LoraSettings:
    """Return settings of twice the rank and the same factor."""
    return replace(settings, r=2 * settings.r, alpha=settings.alpha * (2**0.5 if settings.rslora else 2))


def _matrices(model: MustelaForConditionalGeneration) -> dict[str, Tensor]:
    own = dict(model.named_parameters())
    return {
        short: own[full].detach()
        for short, full in lora_names(model).items()
        if short.endswith((".lora_A.weight", ".lora_B.weight"))
    }


@torch.no_grad()
def _take_out(model: MustelaForConditionalGeneration, first: Mapping[str, Tensor], scaling: float) -> None:
    """Give adapters their first values and take those out of the weights under them, as PiSSA does."""
    matrices = _matrices(model)
    weights = {plain_name(name): parameter for name, parameter in model.named_parameters()}
    for key, tensor in first.items():
        matrices[key].copy_(tensor)
        if ".lora_B." in key:
            weight = weights[key.replace(".lora_B.weight", ".weight")]
            product = scaling * tensor @ first[key.replace(".lora_B.", ".lora_A.")]
            weight.copy_((weight.float() - product).to(weight.dtype))
