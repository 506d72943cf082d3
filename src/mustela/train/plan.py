"""The plan of a run, for `--dry_run`: data, steps, sequence lengths, parameters, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mustela.config.training import TrainingArguments
from mustela.train.freezing import PartSize
from mustela.train.memory import Memory

_GIB = 2**30
_MIB = 2**20


@dataclass(frozen=True)
class Schedule:
    """How often the weights change.

    Args:
        samples: of an epoch.
        batch: samples of one step, over processes and accumulation.
        steps: optimizer steps of the stage.
        minutes: how long they may take, or None.
    """

    samples: int
    batch: int
    steps: int
    minutes: float | None = None

    @property
    def epochs(self) -> float:
        """Passes over the data."""
        return self.steps * self.batch / self.samples if self.samples else 0.0


def schedule(samples: int, training: TrainingArguments, *, processes: int) -> Schedule:
    """Count the optimizer steps as the Trainer does."""
    per_pass = training.train_batch_size * processes
    batches = samples // per_pass if training.dataloader_drop_last else math.ceil(samples / per_pass)
    accumulation = training.gradient_accumulation_steps
    updates = max(math.ceil(batches / accumulation), 1)
    steps = training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * updates)
    return Schedule(samples, per_pass * accumulation, steps, training.max_minutes)


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


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"


def describe_stage(
    name: str,
    *,
    plan: Schedule,
    lengths: Lengths,
    sizes: Sequence[PartSize],
    memory: Memory,
    model_max_length: int,
    unit: str = "sample",
    counted: bool = True,
) -> str:
    """Write the plan of one stage as text.

    Args:
        name: of the stage, or an empty text.
        plan: its steps.
        lengths: of samples that were looked at.
        sizes: of the model's parts.
        memory: of a device.
        model_max_length: the limit of a sample.
        unit: what a batch counts, sample or row.
        counted: False where samples are streamed, and the plan's are those that its steps use.
    """
    lines = [f"stage {name}" if name else "training"]
    if counted:
        used = f"{plan.samples} {unit}s, {plan.batch} a step: {plan.steps} steps, {plan.epochs:.2f} epochs"
    else:
        used = f"streamed, {plan.batch} a step: {plan.steps} steps use {plan.steps * plan.batch} {unit}s"
    lines.append(f"  {used}" + ("" if plan.minutes is None else f", in {plan.minutes:g} minutes at most"))
    lines.append(
        f"  tokens a {unit}: {lengths.shortest} to {lengths.longest}, median {lengths.median}, "
        f"95 % up to {lengths.most} (limit {model_max_length}); {lengths.supervised:.0%} supervised"
    )
    lines.append(f"  {'part':<16}{'parameters':>16}{'learning':>16}")
    lines += [f"  {size.part:<16}{size.total:>16,}{size.learning:>16,}" for size in sizes]
    total, learning = sum(size.total for size in sizes), sum(size.learning for size in sizes)
    lines.append(f"  {'all':<16}{total:>16,}{learning:>16,}")
    lines.append(
        f"  memory: about {_size(memory.total)} a device (weights {_size(memory.weights)}, "
        f"gradients {_size(memory.gradients)}, optimizer {_size(memory.optimizer)}, "
        f"activations {_size(memory.activations)})"
    )
    shares = ", ".join(f"{devices} devices {_size(size)}" for devices, size in memory.sharded.items())
    lines.append(f"  memory of each device if sharded (FSDP2, ZeRO-3): {shares}")
    return "\n".join(lines)
