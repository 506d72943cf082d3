"""Numbers of a training that can't work, found before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers.trainer_utils import IntervalStrategy

from mustela.config import DataArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.errors import ConfigError

# Of numpy's generators.
_SEEDS = 2**32


@dataclass(frozen=True)
class _Range:
    """What a number may be, and that in words; unset is always right."""

    fits: Callable[[Any], bool]
    words: str

    def check(self, name: str, value: Any) -> None:
        if value is not None and not self.fits(value):
            raise ConfigError(f"--{name} {value}: give {self.words}.")


_COUNT = _Range(lambda value: value >= 1, "a whole number, 1 at least")
_FROM_ZERO = _Range(lambda value: value >= 0, "a whole number, 0 at least")
_RATE = _Range(lambda value: 0 <= value < float("inf"), "a number, 0 at least, such as 2e-5")
_SEED = _Range(lambda value: 0 <= value < _SEEDS, f"a whole number from 0 to {_SEEDS - 1}")

_TRAINING = {
    "per_device_train_batch_size": _COUNT,
    "per_device_eval_batch_size": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "model_max_length": _COUNT,
    "dataloader_num_workers": _FROM_ZERO,
    "learning_rate": _RATE,
    "vision_tower_lr": _RATE,
    "mm_projector_lr": _RATE,
    "region_encoder_lr": _RATE,
    "weight_decay": _RATE,
    "seed": _SEED,
    "data_seed": _SEED,
    "max_steps": _Range(
        lambda value: value == -1 or value >= 1, "a number of steps, 1 at least, or leave it out for epochs"
    ),
    "warmup_steps": _Range(
        lambda value: 0 <= value < 1 or (value >= 1 and float(value).is_integer()),
        "a share of the steps from 0 up to but not including 1, such as 0.03, or a whole number of steps",
    ),
}
_DATA = {"eval_max_new_tokens": _COUNT, "eval_pictures": _FROM_ZERO, "eval_records": _FROM_ZERO}
_LORA = {
    "lora_dropout": _Range(lambda value: 0 <= value < 1, "a share from 0 up to but not including 1"),
    "lora_alpha": _Range(lambda value: value > 0, "a number above 0, such as twice --lora_r"),
}


def check_ranges(stage: StageArguments) -> None:
    """Make sure that the numbers of a stage can work.

    Raises:
        ConfigError: one can't; names the flag, its value and what would.
    """
    training, data = stage.training, stage.data
    tables: list[tuple[Any, dict[str, _Range]]] = [(training, _TRAINING), (data, _DATA)]
    if training.lora_enable:
        tables.append((training, _LORA))
    for arguments, table in tables:
        for name, allowed in table.items():
            allowed.check(name, getattr(arguments, name))
    _check_length(training)
    _check_held_out(training, data)
    if training.dataloader_persistent_workers and not training.dataloader_num_workers:
        raise ConfigError(
            "--dataloader_persistent_workers True with --dataloader_num_workers 0: there are no workers to "
            "keep. Give --dataloader_num_workers 1 or more, or leave it out."
        )


def _check_length(training: TrainingArguments) -> None:
    if training.max_steps < 0 and not training.num_train_epochs > 0:
        raise ConfigError(
            f"--num_train_epochs {training.num_train_epochs:g}: nothing would be trained. Give a number "
            "above 0, or --max_steps N."
        )


def _check_held_out(training: TrainingArguments, data: DataArguments) -> None:
    strategy = IntervalStrategy(training.eval_strategy).value
    if strategy != "no" and data.eval_data_path and not data.eval_records:
        raise ConfigError(
            f"--eval_records 0 with --eval_strategy {strategy}: an evaluation would ask "
            "nothing. Leave --eval_strategy out, or give --eval_records 1 or more."
        )
