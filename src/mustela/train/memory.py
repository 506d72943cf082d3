"""What a training step takes of a device's memory, found by rehearsing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn
from transformers.training_args import OptimizerNames

from mustela.config.training import TrainingArguments
from mustela.constants import IGNORE_INDEX
from mustela.train.muon import hidden_matrices
from mustela.train.packed import PackedLinear
from mustela.train.rehearsal import Rehearsal

# Numbers of its own that an optimizer keeps for each that learns; those not named keep two, as Adam does.
_STATES = {"ademamix": 3, "lion": 1, "adagrad": 1, "rmsprop": 1, "sgd": 0}
# bitsandbytes leaves small tensors in 32 bits, and keeps a constant for each block of the others.
_SMALLEST_IN_8_BITS = 4096
_BLOCK = 256


@dataclass(frozen=True)
class Memory:
    """Estimated bytes on one device, at the moment of a step when they are most.

    Attributes:
        weights: as they are stored.
        gradients: of all that learns.
        optimizer: its state.
        activations: what else lives: values kept for the backward pass, copies of weights in half precision.
        sharded: bytes on each device by the number of devices that weights, gradients and states are spread
            over.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    sharded: Mapping[int, int]

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    model: nn.Module, batch: Mapping[str, Tensor], *, training: TrainingArguments, rehearsal: Rehearsal
) -> Memory:
    """Take a model through a training step without numbers and count what lives at the worst moment.

    Where gradients are accumulated, a pass's values live beside the gradients of those before. Neither the
    memory of a card's own libraries (about 1 GiB) is counted, nor what loading a model takes.

    Args:
        model: with fake numbers, and with what learns set.
        batch: one device's, with fake floating-point numbers.
        training: precision, checkpointing, accumulation, optimizer.
        rehearsal: active.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights, gradients = stored_bytes(model), sum(_bytes(parameter) for parameter in learning)
    state = optimizer_bytes(model, training)
    at_step = gradients + _step_bytes(learning, training)
    most = max(_rehearse(model, batch, training=training, rehearsal=rehearsal), at_step)
    # Sharded weights are gathered in the numbers that are calculated with, and gradients leave at once.
    with _weights_as(model, _half(training)), _dropped_gradients(model):
        values = _rehearse(model, batch, training=training, rehearsal=rehearsal, accumulated=False)
    gathered = _gathered_bytes(model, training)
    return Memory(
        weights,
        gradients,
        state,
        most - gradients,
        {devices: (weights + gradients + state) // devices + gathered + values for devices in (2, 4, 8)},
    )


def stored_bytes(model: nn.Module) -> int:
    """Count the bytes of a model's weights and buffers, packed ones as packed."""
    packed = {
        id(module.weight): module.stored_bytes
        for module in model.modules()
        if isinstance(module, PackedLinear)
    }
    return sum(packed.get(id(each), _bytes(each)) for each in (*model.parameters(), *model.buffers()))


def optimizer_bytes(model: nn.Module, training: TrainingArguments) -> int:
    """Count the bytes of the optimizer's state."""
    name = OptimizerNames(training.optim).value
    matrices = hidden_matrices(model) if training.muon else set()
    return sum(
        _state_bytes(parameter, name, by_muon=id(parameter) in matrices)
        for parameter in model.parameters()
        if parameter.requires_grad
    )


def _state_bytes(parameter: Tensor, optimizer: str, *, by_muon: bool) -> int:
    count = parameter.numel()
    if by_muon:
        return _bytes(parameter)
    if "adafactor" in optimizer:
        kept = (
            sum(parameter.shape[-2:]) * (count // max(parameter.shape[-1] * parameter.shape[-2], 1))
            if parameter.ndim > 1
            else count
        )
        return kept * 4
    states = next((number for kind, number in _STATES.items() if kind in optimizer), 2)
    if "8bit" in optimizer:
        small = count < _SMALLEST_IN_8_BITS
        return states * (count * 4 if small else count + 4 * -(-count // _BLOCK))
    return states * _bytes(parameter)


def _step_bytes(learning: list[nn.Parameter], training: TrainingArguments) -> int:
    """Count what the optimizer makes while it steps: as much as the gradients, where it takes all at once."""
    if not learning:
        return 0
    optimizer = OptimizerNames(training.optim).value
    at_once = training.device.type != "cpu" and optimizer == "adamw_torch" and not training.muon
    if at_once:
        return sum(_bytes(parameter) for parameter in learning)
    fused = "fused" in optimizer or "8bit" in optimizer
    return 0 if fused else 2 * max(_bytes(parameter) for parameter in learning)


def _rehearse(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    *,
    training: TrainingArguments,
    rehearsal: Rehearsal,
    accumulated: bool = True,
) -> int:
    """Return the most bytes beside weights and states during a pass, with gradients of those before it."""
    half = _half(training)
    items = int((batch["labels"] != IGNORE_INDEX).sum())
    model.train()
    checkpointed: Any = model
    if training.activation_checkpointing:
        checkpointed.activation_checkpointing_enable(training.activation_checkpointing_kwargs)
    # As accelerate wraps it.
    forward: Any = model.forward
    if half is not None:
        forward = convert_outputs_to_fp32(torch.autocast("cpu", dtype=half)(forward))
    before = rehearsal.now
    if accumulated and training.gradient_accumulation_steps > 1:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
    rehearsal.restart()
    forward(**batch, num_items_in_batch=items).loss.backward()
    model.zero_grad(set_to_none=True)
    if training.activation_checkpointing:
        checkpointed.activation_checkpointing_disable()
    return rehearsal.peak - before


def _half(training: TrainingArguments) -> torch.dtype | None:
    if training.bf16:
        return torch.bfloat16
    return torch.float16 if training.fp16 else None


@contextmanager
def _dropped_gradients(model: nn.Module) -> Iterator[None]:
    """Let go of each gradient as soon as it is there."""

    def drop(parameter: Tensor) -> None:
        parameter.grad = None

    hooks = [
        parameter.register_post_accumulate_grad_hook(drop)
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _weights_as(model: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Give a model weights of another type for a while; None leaves them."""
    kept: list[tuple[nn.Module, str, nn.Parameter]] = []
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if dtype is not None and parameter is not None and parameter.is_floating_point():
                kept.append((module, name, parameter))
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), parameter.requires_grad)
    for module, name, parameter in kept:
        module._parameters[name] = made[id(parameter)]
    try:
        yield
    finally:
        for module, name, parameter in kept:
            module._parameters[name] = parameter


def _gathered_bytes(model: Any, training: TrainingArguments) -> int:
    """Count what a device holds of the other devices' weights at once.

    That is all that lies in no layer of the language model, with its gradients, and two layers (the one that
    runs and the next), with the gradients of one.
    """
    layers = model.base.get_decoder().layers
    width = 2 if training.bf16 or training.fp16 else 4
    inside = {id(parameter) for parameter in layers.parameters()}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    layer = list(layers[0].parameters())
    return width * (_numbers(outside) + 2 * _numbers(layer)) + 4 * (
        sum(parameter.numel() for parameter in [*outside, *layer] if parameter.requires_grad)
    )


def _numbers(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
