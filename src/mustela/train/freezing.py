"""Which parts of a model learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import distribute_tensor

from mustela.config import ModelArguments
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.lora import is_lora

VISION_TOWER = "vision_tower"
PROJECTOR = "projector"
REGION_ENCODER = "region_encoder"
REGION_TOWER = "region_tower"

# The parameters' names of each part of a model, as `mustela.model.parts` gives them.
Parts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Freezing:
    """Which parts learn; the language model includes its embeddings and its head."""

    vision_tower: bool
    projector: bool
    region_encoder: bool
    language_model: bool
    region_tower: bool = False

    def learns(self, part: str) -> bool:
        """Say whether a part of the model learns."""
        special = {
            VISION_TOWER: self.vision_tower,
            PROJECTOR: self.projector,
            REGION_ENCODER: self.region_encoder,
            REGION_TOWER: self.region_tower,
        }
        return special.get(part, self.language_model)


def plan_freezing(arguments: ModelArguments, *, freeze_mm_mlp_adapter: bool, lora: bool = False) -> Freezing:
    """Work out what learns from the flags.

    `tune_mm_mlp_adapter` leaves the projector and the region encoder; `freeze_backbone` freezes the language
    model; the vision tower is frozen unless `freeze_vision_tower` is off, and the region tower unless
    `freeze_region_tower` is. The region encoder always learns,
    unless `freeze_region_encoder`. With `lora`, the language model has adapters that learn instead of it.

    Raises:
        ConfigError: the flags contradict each other, or leave nothing.
    """
    if arguments.tune_mm_mlp_adapter and freeze_mm_mlp_adapter:
        raise ConfigError(
            "tune_mm_mlp_adapter trains the projector and freeze_mm_mlp_adapter keeps it: choose one."
        )
    only_adapter = arguments.tune_mm_mlp_adapter
    plan = Freezing(
        vision_tower=not arguments.freeze_vision_tower and not only_adapter,
        projector=not freeze_mm_mlp_adapter,
        region_encoder=not arguments.freeze_region_encoder,
        language_model=not arguments.freeze_backbone and not only_adapter and not lora,
        region_tower=not arguments.freeze_region_tower and not only_adapter,
    )
    if not lora and not any((plan.vision_tower, plan.projector, plan.region_encoder, plan.language_model)):
        raise ConfigError(
            "Every part of the model is frozen. Switch off one of freeze_backbone, freeze_mm_mlp_adapter, "
            "freeze_region_encoder, freeze_vision_tower."
        )
    return plan


def apply_freezing(model: nn.Module, plan: Freezing, *, parts: Parts) -> None:
    """Switch the gradients of all parameters on or off.

    A parameter that two parts share (a head tied to the embeddings) learns if one of them does. Low-rank
    adapters always learn.

    Raises:
        ConfigError: nothing is left to learn, because the model lacks the parts that would.
    """
    learning = {name for part, names in parts.items() if plan.learns(part) for name in names}
    for name, parameter in model.named_parameters():
        # Quantised numbers can't even be asked.
        if parameter.is_floating_point():
            parameter.requires_grad_(name in learning or is_lora(name))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("Nothing is left to learn: the model lacks the parts that are not frozen.")


def freeze_unread(model: MustelaForConditionalGeneration, *, parts: Parts) -> None:
    """Freeze weights of the vision and the region tower that no picture's features hang on.

    Those of last layers that aren't read, for example. They would never get a gradient, for which
    distributed engines wait.
    """
    tower = [
        name
        for part in (VISION_TOWER, REGION_TOWER)
        for name in parts.get(part, ())
        if model.get_parameter(name).requires_grad
    ]
    if not tower:
        return
    model.blank_picture().backward()
    for name in tower:
        parameter = model.get_parameter(name)
        parameter.requires_grad_(parameter.grad is not None)
    model.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Learning:
    """What learns, and how.

    Args:
        parts: names of the parameters of each part.
        undecayed: names of parameters that must not decay: embeddings of which only the rows of new tokens
            learn, and lengths of columns.
        new_rows: by name of an embedding, its rows that learn alone.
    """

    parts: Parts
    undecayed: tuple[str, ...] = ()
    new_rows: Mapping[str, Sequence[int]] = field(default_factory=dict)


def learn_new_rows(embedding: nn.Embedding, rows: Sequence[int]) -> None:
    """Let only some rows of an embedding learn: those of tokens that were added to a frozen model.

    The gradient of the other rows is zeroed. They need an optimizer group without weight decay.
    """
    weight = embedding.weight
    weight.requires_grad_(True)
    mask = _rows_mask(weight, rows)

    def keep_rows(gradient: Tensor) -> Tensor:
        return gradient * mask.to(gradient)

    weight.register_hook(keep_rows)


def keep_new_rows(weight: nn.Parameter, rows: Sequence[int]) -> None:
    """Zero the gradient of the other rows of an embedding that FSDP2 shards; all processes call it."""
    sharded: Any = weight
    mask = distribute_tensor(_rows_mask(weight, rows), sharded.device_mesh, sharded.placements)

    def keep_rows(parameter: Tensor) -> None:
        if parameter.grad is not None:
            parameter.grad.mul_(mask)

    weight.register_post_accumulate_grad_hook(keep_rows)


def _rows_mask(weight: Tensor, rows: Sequence[int]) -> Tensor:
    mask = torch.zeros(weight.shape[0], 1, device=weight.device)
    mask[list(rows)] = 1.0
    return mask


@dataclass(frozen=True)
class PartSize:
    """Parameters of one part: all, and those that learn."""

    part: str
    total: int
    learning: int


def part_sizes(model: nn.Module, *, parts: Parts) -> tuple[PartSize, ...]:
    """Count the parameters of each part; a shared one counts where it comes first."""
    by_name = dict(model.named_parameters())
    seen: set[str] = set()
    sizes = []
    for part, names in parts.items():
        own = [by_name[name] for name in names if name in by_name and name not in seen]
        seen.update(names)
        total = sum(_numbers(parameter) for parameter in own)
        learning = sum(parameter.numel() for parameter in own if parameter.requires_grad)
        if total:
            sizes.append(PartSize(part, total, learning))
    return tuple(sizes)


def _numbers(parameter: nn.Parameter) -> int:
    """Count the numbers of a parameter; bitsandbytes packs two of 4 bits into a byte."""
    packed = type(parameter).__name__ == "Params4bit"
    return parameter.numel() * (2 if packed else 1)
