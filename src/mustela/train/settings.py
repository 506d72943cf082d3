"""The settings of a run as plain values: what `config.yaml` holds, which works as a recipe again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

from mustela.config.training import StageArguments, TrainingArguments, all_fields

# Secrets, what `transformers` fills in by itself, and the old names of other settings.
_LEFT_OUT = (
    "accelerator_config", "debug", "disable_tqdm", "dry_run", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "hub_token", "local_rank", "overwrite_output_dir", "parallelism_config",
    "resume_from_checkpoint",
)  # fmt: skip


def stage_values(stage: StageArguments) -> dict[str, Any]:
    """Return every setting of a stage as a plain value."""
    values = {**asdict(stage.model), **asdict(stage.data), **_training_values(stage.training)}
    return {name: value for name, value in values.items() if name not in _LEFT_OUT}


def _training_values(training: TrainingArguments) -> dict[str, Any]:
    known = all_fields()
    return {
        item.name: _plain(training.__dict__[item.name]) for item in fields(training) if item.name in known
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def run_config(stages: Sequence[StageArguments], *, from_scratch: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings of a run: what all stages share at the top, then what each has of its own."""
    values = [stage_values(stage) for stage in stages]
    shared = {
        name: value for name, value in values[0].items() if all(other[name] == value for other in values)
    }
    config = dict(shared)
    if from_scratch is not None:
        config["from_scratch"] = _plain(from_scratch)
    if any(stage.name for stage in stages):
        config["stages"] = [
            {"name": stage.name, **{name: value for name, value in own.items() if name not in shared}}
            for stage, own in zip(stages, values, strict=True)
        ]
    return config
