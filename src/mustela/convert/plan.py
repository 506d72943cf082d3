"""Which tensor of a new model is made of which tensors of old checkpoints, and how."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from mustela.convert.checkpoint import Checkpoint, Stored
from mustela.convert.names import EMBEDDINGS, is_buffer
from mustela.errors import CheckpointError

__all__ = ["Lora", "Part", "Plan", "Step", "check_factors", "is_allowed", "plan_steps"]

_HEADS = (EMBEDDINGS, "base.lm_head.weight", "base.lm_head.bias")
_IN_THE_BASE = " (in the base)"
_LANGUAGE_MODEL = ("base.model.language_model.", "base.lm_head.")


@dataclass(frozen=True)
class Part:
    """A checkpoint that tensors come from.

    Attributes:
        label: what it is, for the report.
        checkpoint: its tensors.
        name_of: from its names to ours; None for those that no tensor is made of by itself.
        otherwise: what those are, for the report.
    """

    label: str
    checkpoint: Checkpoint
    name_of: Callable[[str], str | None]
    otherwise: str = "no part of the model"


@dataclass(frozen=True)
class Lora:
    """Low-rank factors to be merged: `weight + scale * B @ A`.

    Attributes:
        checkpoint: holds the factors.
        factors: names of A and B, by our name of the weight that they change.
        scale: `alpha / r`.
    """

    checkpoint: Checkpoint
    factors: Mapping[str, tuple[str, str]]
    scale: float


@dataclass(frozen=True)
class Step:
    """One tensor of the new model.

    Attributes:
        name: in the new model.
        shape: as in the new model.
        dtype: as it is written.
        sources: `label: name` of what it is made of.
        how: `copied`, `added to the base`, `merged` or `made fresh`, and what else was done.
        stored: where the first source lies; steps are done in that order.
        make: returns the tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    sources: tuple[str, ...]
    how: str
    stored: Stored | None
    make: Callable[[], Tensor]


@dataclass
class Plan:
    """Steps, and what doesn't add up.

    Attributes:
        steps: in the order of the files that are read.
        ignored: names that aren't needed, with the reason.
        unread: names that nothing is made of.
        missing: tensors of the model that have no source.
    """

    steps: list[Step] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def check(self, *, allow_unread: Sequence[str], allow_missing: Sequence[str]) -> None:
        """Refuse what doesn't add up, unless it was allowed by name (patterns with `*`).

        Raises:
            CheckpointError: lists what has no place and what has no source.
        """
        for name in list(self.unread):
            if is_allowed(name.partition(": ")[2], allow_unread):
                self.unread.remove(name)
                self.ignored[name] = "allowed by name"
        for name in list(self.missing):
            alone = name.removesuffix(_IN_THE_BASE)
            if alone != name and is_allowed(alone, allow_missing):
                self.missing.remove(name)
        if not self.unread and not self.missing:
            return
        told = []
        if self.unread:
            told.append(f"{_listed(self.unread)} have no place in the new model (--allow_unread NAME)")
        if self.missing:
            told.append(
                f"{_listed(self.missing)} of the new model have no source (--allow_missing NAME makes them "
                "afresh)"
            )
        given = ", ".join([*allow_unread, *allow_missing])
        raise CheckpointError(
            f"The checkpoint and the model don't add up: {'; '.join(told)}."
            + (f" Allowed were: {given}." if given else "")
        )


def plan_steps(
    targets: Mapping[str, tuple[int, ...]],
    parts: Sequence[Part],
    *,
    dtype: torch.dtype,
    delta_base: Part | None = None,
    lora: Lora | None = None,
    fresh: Mapping[str, Tensor] | None = None,
) -> Plan:
    """Find a source for every tensor of the new model.

    Args:
        targets: shapes of the new model's tensors by name.
        parts: where they come from; the first that has a tensor gives it.
        dtype: of all floating-point tensors.
        delta_base: what the language model of the parts is a difference to.
        lora: factors to merge.
        fresh: tensors for targets that no part has.

    Raises:
        CheckpointError: a shape differs from the model's.
    """
    plan = Plan()
    owners = _owners(targets, parts, plan)
    bases = {} if delta_base is None else _owners(targets, [delta_base], plan)
    factors = dict(lora.factors) if lora is not None else {}
    for name, shape in targets.items():
        if name in owners:
            part, source = owners[name]
            step = _copied(name, shape, part, source, dtype=dtype)
            if name in bases:
                step = _with_base(step, shape, *bases[name])
            elif delta_base is not None and name.startswith(_LANGUAGE_MODEL):
                plan.missing.append(f"{name}{_IN_THE_BASE}")
            if name in factors and lora is not None:
                step = _with_lora(step, lora, factors.pop(name))
            plan.steps.append(_fitted(step, shape))
        elif fresh is not None and name in fresh:
            make = partial(fresh.__getitem__, name)
            plan.steps.append(Step(name, shape, dtype, (), "made fresh", None, make))
        else:
            plan.missing.append(name)
    for name in bases.keys() - owners.keys():
        plan.unread.append(f"base: {bases[name][1]}")
    for pair in factors.values():
        plan.unread += [f"adapter: {name}" for name in pair]
    # The files one after the other, in each as it lies.
    places = {file: number for part in parts for number, file in enumerate(part.checkpoint.files)}
    plan.steps.sort(key=lambda step: -1 if step.stored is None else places[step.stored.file])
    return plan


def _owners(
    targets: Mapping[str, tuple[int, ...]], parts: Iterable[Part], plan: Plan
) -> dict[str, tuple[Part, str]]:
    owners: dict[str, tuple[Part, str]] = {}
    for part in parts:
        for source in part.checkpoint.tensors:
            label, name = f"{part.label}: {source}", part.name_of(source)
            if is_buffer(source):
                plan.ignored[label] = "follows from the configuration"
            elif name is None:
                plan.ignored[label] = part.otherwise
            elif name not in targets:
                plan.unread.append(label)
            elif name not in owners:
                owners[name] = (part, source)
            elif owners[name][0] is part:
                raise CheckpointError(f"{source} and {owners[name][1]} would both become {name}.")
            else:
                plan.ignored[label] = f"the {owners[name][0].label} has it"
    return owners


def _copied(name: str, shape: tuple[int, ...], part: Part, source: str, *, dtype: torch.dtype) -> Step:
    stored = part.checkpoint.tensors[source]
    if 0 in stored.shape:
        raise CheckpointError(
            f"{source} is empty ({list(stored.shape)}): it was saved without gathering its pieces."
        )
    kept = dtype if stored.dtype.is_floating_point else stored.dtype
    return Step(
        name,
        _squeezed(stored.shape, shape),
        kept,
        (f"{part.label}: {source}",),
        "copied",
        stored,
        lambda: part.checkpoint.read(source).reshape(_squeezed(stored.shape, shape)),
    )


def _squeezed(found: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the last axis of a convolution over one point, which is a linear layer."""
    return found[:-1] if len(found) == len(wanted) + 1 and found[-1] == 1 else found


def _with_base(step: Step, shape: tuple[int, ...], base: Part, source: str) -> Step:
    rows = base.checkpoint.tensors[source].shape
    fits = rows == step.shape or (
        step.name in _HEADS and rows[1:] == step.shape[1:] and rows[0] <= step.shape[0]
    )
    if not fits:
        raise CheckpointError(
            f"{step.name} is {list(step.shape)} in the delta and {list(rows)} in the base: "
            "the delta was made for another base."
        )

    def add() -> Tensor:
        # The sum of two numbers of half precision in single precision is exact, then rounded once.
        total = step.make().float()
        total[: rows[0]] += base.checkpoint.read(source)
        return total

    how = "added to the base" + ("" if rows == step.shape else f", rows from {rows[0]} on as they are")
    return replace(step, sources=(*step.sources, f"{base.label}: {source}"), how=how, make=add)


def check_factors(lora: Lora, name: str, shape: tuple[int, ...]) -> None:
    """Make sure that the factors of a weight have its shape.

    Raises:
        CheckpointError: they don't; the message names all three.
    """
    names = lora.factors[name]
    first_shape, second_shape = (lora.checkpoint.tensors[each].shape for each in names)
    if (second_shape[0], first_shape[-1]) != shape or second_shape[-1] != first_shape[0]:
        raise CheckpointError(
            f"{names[0]} and {names[1]} are {list(first_shape)} and {list(second_shape)}, which doesn't fit "
            f"{name}, {list(shape)}: the adapter was trained on another base."
        )


def _with_lora(step: Step, lora: Lora, names: tuple[str, str]) -> Step:
    check_factors(lora, step.name, step.shape)

    def merge() -> Tensor:
        first, second = (lora.checkpoint.read(name).float() for name in names)
        return step.make().float() + lora.scale * (second @ first)

    sources = (*step.sources, *(f"adapter: {name}" for name in names))
    return replace(step, sources=sources, how="merged", make=merge)


def _fitted(step: Step, shape: tuple[int, ...]) -> Step:
    """Add rows for tokens that the checkpoint doesn't have: the mean of the others."""
    if step.shape == shape:
        return step
    if step.name not in _HEADS or step.shape[1:] != shape[1:] or step.shape[0] > shape[0]:
        raise CheckpointError(
            f"{step.sources[0]} is {list(step.shape)}, but {step.name} is {list(shape)}: "
            "the configuration describes another model."
        )
    count = shape[0] - step.shape[0]

    def grow() -> Tensor:
        rows = step.make()
        mean = rows.float().mean(0, keepdim=True).to(rows.dtype)
        return torch.cat([rows, mean.expand(count, *rows.shape[1:])])

    return replace(step, shape=shape, how=f"{step.how}, {count} rows added", make=grow)


def is_allowed(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the patterns, with `*`, is a name's."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"
