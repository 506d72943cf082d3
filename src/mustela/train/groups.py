"""Parameter groups: a learning rate for each part, and no weight decay where it does harm."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from mustela.config.training import TrainingArguments
from mustela.train.freezing import PROJECTOR, REGION_ENCODER, REGION_TOWER, VISION_TOWER, Parts


def part_rates(arguments: TrainingArguments) -> dict[str, float]:
    """Return the learning rates that differ from `learning_rate`, by part."""
    rates = {
        VISION_TOWER: arguments.vision_tower_lr,
        REGION_TOWER: arguments.vision_tower_lr,
        PROJECTOR: arguments.mm_projector_lr,
        REGION_ENCODER: arguments.region_encoder_lr,
    }
    return {part: rate for part, rate in rates.items() if rate is not None}


def parameter_groups(
    model: nn.Module,
    arguments: TrainingArguments,
    *,
    parts: Parts,
    decayed: Collection[str],
    undecayed: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Put the parameters that learn into optimizer groups.

    Args:
        model: the model.
        arguments: learning rates and weight decay.
        parts: names of the parameters of each part.
        decayed: names that weight decay applies to: matrices, no biases and norms.
        undecayed: names that are kept from it nevertheless.

    Returns:
        Groups with `params`, `lr`, `weight_decay` and a `name` such as "projector, no decay"; empty ones are
        left out. The first has the base learning rate, if any has.
    """
    rates = part_rates(arguments)
    part_of = {name: part for part in rates for name in parts.get(part, ())}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = name in decayed and name not in undecayed
            groups.setdefault((part_of.get(name, ""), decay), []).append(parameter)
    return [
        {
            "params": groups[part, decay],
            "lr": rates.get(part, arguments.learning_rate),
            "weight_decay": arguments.weight_decay if decay else 0.0,
            "name": (part or "model") + ("" if decay else ", no decay"),
        }
        for part, decay in sorted(groups, key=lambda key: (key[0], not key[1]))
    ]
