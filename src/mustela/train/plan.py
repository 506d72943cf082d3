"""The plan of a run, for `--dry_run`: data, steps, sequence lengths, parameters, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers.training_args import OptimizerNames

from mustela.config.training import TrainingArguments
from mustela.train.freezing import PartSize

_GIB = 2**30
_MIB = 2**20


@dataclass(frozen=True)
class Schedule:
    """How often the weights change.

    Args:
        samples: of an epoch.
        batch: samples of one step, over processes and accumulation.
        steps: optimizer steps of the stage.
    """

    samples: int
    batch: int
    steps: int

    @property
    def epochs(self) -> float:
        """Passes over the data."""
        return self.steps * self.batch / self.samples if self.samples else 0.0


def schedule(samples: int, training: TrainingArguments) -> Schedule:
    """Count the optimizer steps as the Trainer does."""
    processes = training.world_size
    per_pass = training.train_batch_size * processes
    batches = samples // per_pass if training.dataloader_drop_last else math.ceil(samples / per_pass)
    accumulation = training.gradient_accumulation_steps
    updates = max(math.ceil(batches / accumulation), 1)
    steps = training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * updates)
    return Schedule(samples, per_pass * accumulation, steps)


@dataclass(frozen=True)
class Lengths:
    """Sequence lengths in tokens, images included, of a sample of the records."""

    shortest: int
    median: int
    most: int
    longest: int
    supervised: float

    @classmethod
    def of(cls, lengths: Sequence[int], supervised: Sequence[int]) -> Lengths:
        """Summarise lengths and numbers of supervised tokens."""
        ordered = sorted(lengths)
        return cls(
            ordered[0],
            ordered[len(ordered) // 2],
            ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)],
            ordered[-1],
            sum(supervised) / max(sum(lengths), 1),
        )


@dataclass(frozen=True)
class Memory:
    """Estimated bytes on each device for weights, gradients, optimizer state and activations."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    model: nn.Module,
    *,
    training: TrainingArguments,
    tokens: int,
    supervised: int,
    hidden_size: int,
    layers: int,
    vocabulary: int,
) -> Memory:
    """Estimate the memory of one device without sharding, good to about a third.

    Args:
        model: for the numbers of parameters.
        training: precision, checkpointing, batch size.
        tokens: length of a long sample.
        supervised: supervised tokens of a long sample.
        hidden_size: of the language model.
        layers: of the language model.
        vocabulary: of the language model.

    Source: activations are 34 bytes a token, layer and hidden unit in 16-bit numbers, twice that in 32-bit
    (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", section 4.1,
    without the attention matrices, which fused attention does not keep); with checkpointing a layer keeps its
    input, and one layer at a time the rest.
    """
    parameters = list(model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in learning)
    optimizer = OptimizerNames(training.optim).value
    states = (2 if "adam" in optimizer else 1) / (4 if "8bit" in optimizer or "bnb" in optimizer else 1)
    batch_tokens = tokens * training.train_batch_size
    width = 1 if training.bf16 or training.fp16 else 2
    layer = 34 * width * batch_tokens * hidden_size
    kept = 2 * width * batch_tokens * hidden_size * layers + layer
    activations = kept if training.activation_checkpointing else layer * layers
    logits = 2 * 4 * supervised * training.train_batch_size * vocabulary
    return Memory(weights, gradients, round(states * gradients), activations + logits)


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"


def describe_stage(
    name: str,
    *,
    plan: Schedule,
    lengths: Lengths | None,
    sizes: Sequence[PartSize],
    memory: Memory | None,
    model_max_length: int,
) -> str:
    """Write the plan of one stage as text."""
    lines = [f"stage {name}" if name else "training"]
    lines.append(
        f"  {plan.samples} samples, {plan.batch} a step: {plan.steps} steps, {plan.epochs:.2f} epochs"
    )
    if lengths is not None:
        lines.append(
            f"  tokens a sample: {lengths.shortest} to {lengths.longest}, median {lengths.median}, "
            f"95 % up to {lengths.most} (limit {model_max_length}); {lengths.supervised:.0%} supervised"
        )
    lines.append(f"  {'part':<16}{'parameters':>16}{'learning':>16}")
    lines += [f"  {size.part:<16}{size.total:>16,}{size.learning:>16,}" for size in sizes]
    total, learning = sum(size.total for size in sizes), sum(size.learning for size in sizes)
    lines.append(f"  {'all':<16}{total:>16,}{learning:>16,}")
    if memory is not None:
        lines.append(
            f"  memory: about {_size(memory.total)} a device (weights {_size(memory.weights)}, "
            f"gradients {_size(memory.gradients)}, optimizer {_size(memory.optimizer)}, "
            f"activations {_size(memory.activations)})"
        )
    return "\n".join(lines)
