"""Settings that would have no effect, and choices of the Trainer that don't work here."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import get_args

from transformers.debug_utils import DebugOption
from transformers.trainer_utils import SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from mustela.config import DataArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.errors import ConfigError
from mustela.train.freezing import Freezing, plan_freezing
from mustela.train.order import Strategy

# The start of an optimizer's name, the module that it is imported from and what installs it.
_PACKAGES = (
    ("galore_", "galore_torch", "galore-torch"),
    ("apollo_", "apollo_torch", "apollo-torch"),
    ("lomo", "lomo_optim", "lomo-optim"),
    ("adalomo", "lomo_optim", "lomo-optim"),
    ("grokadamw", "grokadamw", "grokadamw"),
    ("schedule_free_", "schedulefree", "schedulefree"),
    ("stable_adamw", "optimi", "torch-optimi"),
    ("adamw_torch_4bit", "torchao", "torchao"),
    ("adamw_torch_8bit", "torchao", "torchao"),
    ("adamw_torch_xla", "torch_xla", "torch-xla"),
    ("adamw_torch_npu_fused", "torch_npu", "torch-npu"),
)
# Those that don't look at optim_args.
_WITHOUT_ARGS = ("adamw_torch", "adamw_torch_fused", "adafactor", "adamw_8bit", "adamw_bnb_8bit",
                 "paged_adamw_32bit", "paged_adamw_8bit", "lion_8bit", "lion_32bit")  # fmt: skip
# The rest of a model that Muon trains is AdamW's, under either name.
_BESIDE_MUON = ("adamw_torch", "adamw_torch_fused")
# What `eval_data_path` is measured by.
_ANSWERS = ("referring_accuracy", "grounding_acc_50", "presence_accuracy", "relation_accuracy",
            "detection_acc_50", "text_accuracy", "parse_failure_rate")  # fmt: skip


def check_part_rates(stages: Sequence[StageArguments]) -> None:
    """Make sure that learning rates of parts are for parts that learn, in one of the stages that set them.

    Layers named for adapters may lie in any part, so that nothing is said of stages that name some.

    Raises:
        ConfigError: a part is frozen in all of them; names the flag that freezes it.
    """
    plans = [(stage, _plan(stage)) for stage in stages]
    if any(stage.training.lora_enable and stage.training.lora_target_modules for stage in stages):
        return
    for name, parts, remedy in (
        ("vision_tower_lr", ("vision_tower", "region_tower"), "add --freeze_vision_tower False"),
        ("mm_projector_lr", ("projector",), "leave out --freeze_mm_mlp_adapter"),
        ("region_encoder_lr", ("region_encoder",), "leave out --freeze_region_encoder"),
    ):
        setting = [(stage, plan) for stage, plan in plans if getattr(stage.training, name) is not None]
        if setting and not any(getattr(plan, part) for _, plan in setting for part in parts):
            stage = setting[0][0]
            if name == "vision_tower_lr" and stage.model.tune_mm_mlp_adapter:
                remedy = "leave out --tune_mm_mlp_adapter, and " + remedy
            raise ConfigError(
                f"--{name} {getattr(stage.training, name):g} has no effect: what it is for is frozen. "
                f"To train it, {remedy}; else leave out --{name}."
            )


def _plan(stage: StageArguments) -> Freezing:
    training = stage.training
    return plan_freezing(
        stage.model, freeze_mm_mlp_adapter=training.freeze_mm_mlp_adapter, lora=training.lora_enable
    )


def check_optimizer(training: TrainingArguments) -> None:
    """Make sure that the optimizer is the one that trains, and that it reads its arguments.

    Raises:
        ConfigError: it isn't or doesn't.
    """
    name = OptimizerNames(training.optim).value
    if training.muon and name not in _BESIDE_MUON:
        raise ConfigError(
            f"--optim {name} has no effect with --muon True, which is Muon and AdamW. Leave one of them out."
        )
    if training.optim_args:
        if training.muon or name in _WITHOUT_ARGS:
            who = "--muon True" if training.muon else f"--optim {name}"
            raise ConfigError(
                f"--optim_args {training.optim_args} has no effect with {who}. Leave it out; AdamW reads "
                "--adam_beta1, --adam_beta2 and --adam_epsilon."
            )
        if any(part.count("=") != 1 for part in training.optim_args.split(",")):
            raise ConfigError(
                f"--optim_args {training.optim_args}: write name=value, several with commas between them."
            )
    if training.quant_type != "nf4" and training.bits != 4:
        raise ConfigError(
            f"--quant_type {training.quant_type} is for --bits 4, and bits is {training.bits}: add --bits 4, "
            "or leave it out."
        )


def check_optimizer_package(training: TrainingArguments) -> None:
    """Make sure that the package of an optimizer is installed, and that it knows what it is for.

    Raises:
        ConfigError: it isn't; names it.
    """
    name = OptimizerNames(training.optim).value
    for start, module, package in _PACKAGES:
        if name.startswith(start) and importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"--optim {name}: the package {module} is not installed; pip install {package}, or choose "
                "another, such as adamw_torch."
            )
    if name.startswith(("galore_", "apollo_")) and not training.optim_target_modules:
        raise ConfigError(
            f"--optim {name} has to know which layers it is for: add --optim_target_modules all-linear, or "
            "patterns of their names."
        )


def check_choices(training: TrainingArguments) -> None:
    """Make sure that the order of samples, the schedule and the aids asked for work here.

    Raises:
        ConfigError: one doesn't; names those that do.
    """
    strategy = training.train_sampling_strategy
    if strategy not in get_args(Strategy):
        raise ConfigError(
            f"--train_sampling_strategy {strategy} doesn't work here. Give one of: "
            f"{', '.join(get_args(Strategy))}."
        )
    kwargs = training.lr_scheduler_kwargs or {}
    if (
        training.lr_scheduler_type == SchedulerType.WARMUP_STABLE_DECAY
        and isinstance(kwargs, dict)
        and "num_decay_steps" not in kwargs
    ):
        raise ConfigError(
            "--lr_scheduler_type warmup_stable_decay has to know how many steps the decay takes: add "
            "--lr_scheduler_kwargs '{\"num_decay_steps\": N}'."
        )
    if DebugOption.UNDERFLOW_OVERFLOW in training.debug:
        raise ConfigError(
            "--debug underflow_overflow can't look into these models. Leave it out: a loss that is not "
            "finite stops the training and names the records."
        )


def check_best(training: TrainingArguments, data: DataArguments) -> None:
    """Make sure that what the best checkpoint is chosen by is measured.

    Raises:
        ConfigError: it isn't; names what is.
    """
    by_best = training.save_strategy == SaveStrategy.BEST
    if not by_best and not training.load_best_model_at_end:
        return
    asking = "--save_strategy best" if by_best else "--load_best_model_at_end True"
    if training.eval_strategy == "no":
        raise ConfigError(
            f"{asking} needs evaluations to choose by: add --eval_strategy steps and --eval_data_path FILE."
        )
    known = ("loss", *_ANSWERS) if data.eval_data_path else ()
    slices = tuple(text.partition(":")[0] for text in data.eval_benchmarks)
    listed = ", ".join([*known, *(f"{name}_parse_failure_rate" for name in slices)])
    metric = training.metric_for_best_model
    if metric is None:
        raise ConfigError(f"{asking} needs a metric: add --metric_for_best_model. There are: {listed}.")
    plain = metric.removeprefix("eval_")
    if plain not in known and not plain.startswith(tuple(f"{name}_" for name in slices)):
        raise ConfigError(
            f"--metric_for_best_model {metric}: nothing of that name is measured. There are: {listed}."
        )
