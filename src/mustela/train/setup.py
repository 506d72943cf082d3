"""What our trainer needs besides what every trainer needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Sampler

from mustela.train.freezing import Parts

# Answers held-out questions with a model: (model, step) -> numbers by name.
Examine = Callable[[nn.Module, int], Mapping[str, float]]


@dataclass(frozen=True)
class TrainerSetup:
    """What `MustelaTrainer` is given.

    Args:
        parts: names of the parameters of each part of the model.
        sampler: order of the training samples.
        save_processor: writes the processor beside saved weights.
        trained_only: checkpoints hold only the parameters that learn; the rest comes from the base model.
        undecayed: names of parameters without weight decay.
        new_rows: by name of an embedding, its rows that learn alone.
        normaliser: finishes the pictures of batches that hold them as bytes.
        features: puts kept features of pictures into a batch's inputs, where they are kept.
        examine: measures the model on held-out questions at each evaluation.
        record_ids: ids of training records by position.
        tell: takes messages for the user.
    """

    parts: Parts
    sampler: Sampler[int]
    save_processor: Callable[[Path], None]
    normaliser: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    trained_only: bool = False
    undecayed: tuple[str, ...] = ()
    new_rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    features: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    examine: Examine | None = None
    record_ids: Callable[[Sequence[int]], list[str]] = lambda positions: [str(each) for each in positions]
    tell: Callable[[str], None] = lambda message: None
