"""What can be known to be wrong before any model is loaded."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from transformers.training_args import OptimizerNames

from mustela.config import DataArguments, ModelArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.data.tiling import parse_grids
from mustela.errors import CheckpointError, ConfigError, MissingExtraError, RecordError, require
from mustela.model.adapter import ADAPTER_FILE, is_adapter
from mustela.model.origin import looks_local
from mustela.model.packaged import resolve_model_path
from mustela.model.tensor_file import read_tensors
from mustela.train.adapters import check_continues, saved_settings
from mustela.train.data import held_out_folders
from mustela.train.features import check_feature_cache
from mustela.train.freezing import plan_freezing
from mustela.train.preflight_base import check_adapter_base, check_kept, check_output
from mustela.train.preflight_effects import (
    check_best,
    check_choices,
    check_optimizer,
    check_optimizer_package,
    check_part_rates,
)
from mustela.train.preflight_ranges import check_ranges
from mustela.train.stand_in import StandIn
from mustela.train.streaming import check_streaming

# Settings of the model that belong to a stage and not to the model as it is built.
_MAY_DIFFER = (
    "freeze_backbone", "freeze_region_encoder", "freeze_region_tower", "freeze_vision_tower", "no_coor",
    "pretrain_mm_mlp_adapter", "save_vision_tower", "tune_mm_mlp_adapter",
)  # fmt: skip
# The end of a back-end's name, and what it is imported from.
_ATTENTION_PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
_EXTRAS = {"tensorboard": "tensorboard"}
_OPTIMISERS_OF_BITSANDBYTES = ("adamw_bnb", "adamw_8bit", "paged", "lion", "ademamix", "rmsprop_bnb")


def check_stages(
    stages: Sequence[StageArguments], *, from_scratch: bool, stand_in: StandIn | None = None
) -> None:
    """Check paths, packages and contradictions of every stage.

    Args:
        stages: of the run.
        from_scratch: the model is built from nothing.
        stand_in: what stands in for weights and data that needn't be there, or None.

    Raises:
        ConfigError: settings that contradict each other or are not supported.
        RecordError: a data file or image folder that is not there.
        CheckpointError: a model or projector file that is not there or not safe to read.
        MissingExtraError: a package that `report_to` needs.
    """
    check_output(stages[0].training)
    for stage in stages:
        check_ranges(stage)
        check_streaming(stage)
        if stand_in is None or not stand_in.replaces_data(stage.data):
            check_data_paths(stage.data)
        check_training(stage.training, data=stage.data)
        check_adapters(stage)
        if stand_in is None or not stand_in.replaces_model(stages[0].model):
            check_adapter_packages(stage)
        check_attention(stage.model)
        check_feature_cache(stage)
        plan_freezing(
            stage.model,
            freeze_mm_mlp_adapter=stage.training.freeze_mm_mlp_adapter,
            lora=stage.training.lora_enable,
        )
    check_part_rates(stages)
    if from_scratch and stages[0].training.lora_enable:
        raise ConfigError(
            "lora_enable: a model from nothing has nothing that adapters could rest on. Train it whole first."
        )
    if stand_in is None or not stand_in.replaces_model(stages[0].model):
        check_model_paths(stages[0].model, from_scratch=from_scratch)
        check_kept(stages[0])
    for stage in stages[1:]:
        _same_model(stages[0], stage)
    for before, stage in pairwise(stages):
        if before.training.lora_enable and stage.training.lora_enable:
            check_continues(saved_settings(before.training), stage.training, who=f"Stage {stage.name}")


def _same_model(first: StageArguments, other: StageArguments) -> None:
    """Make sure that a later stage changes what learns and how, and not the model itself."""
    after = asdict(other.model)
    for name, before in asdict(first.model).items():
        if name not in _MAY_DIFFER and before != after[name]:
            raise ConfigError(
                f"Stage {other.name} has {name} {after[name]!r} and the first stage {before!r}: the stages "
                "of a run share one model. Set it once, outside of the stages."
            )


def check_data_paths(data: DataArguments) -> None:
    """Make sure that the data files and image folders are there and their numbers fit."""
    if not data.data_path:
        raise ConfigError("There is nothing to train on: give --data_path FILE (and --image_folder DIR).")
    if data.coordinate_digit_weights and len(data.coordinate_digit_weights) != 3:
        raise ConfigError(
            f"coordinate_digit_weights has {len(data.coordinate_digit_weights)} numbers and a coordinate "
            "three digits: give three, such as 1 0.3 0.03."
        )
    _same_number(data.data_multiple, data.data_path, "data_multiple", "data_path")
    for files, folders, name in (
        (data.data_path, data.image_folder, ""),
        (data.eval_data_path, data.eval_image_folder, "eval_"),
    ):
        for file in files:
            if Path(file).is_dir():
                if name or not data.streaming:
                    raise RecordError(
                        f"--{name}data_path {file} is a folder. Name the file in it"
                        + ("." if name else ", or train on a folder of shards with --streaming True.")
                    )
            elif not Path(file).is_file():
                raise RecordError(
                    f"--{name}data_path {file}: there is no such file. (Looked in {Path.cwd()}.)"
                )
        for folder in folders:
            if not Path(folder).is_dir():
                raise RecordError(
                    f"--{name}image_folder {folder}: there is no such folder. (In {Path.cwd()}.)"
                )
    if len(data.image_folder) > 1:
        _same_number(data.image_folder, data.data_path, "image_folder", "data_path")
    held_out_folders(data)


def _same_number(some: Sequence[object], files: Sequence[object], name: str, files_name: str) -> None:
    if some and len(some) != len(files):
        raise ConfigError(
            f"--{name} has {len(some)} values and --{files_name} {len(files)}: give one for each file"
            + (", or one for all." if "folder" in name else ".")
        )


def check_tiles(data: DataArguments) -> None:
    """Make sure that the grids of tiles can be read and are used."""
    if data.image_aspect_ratio != "anyres":
        for name in ("image_grid_pinpoints", "image_max_tokens"):
            if asdict(data)[name] is not None:
                raise ConfigError(f"{name} is for tiles: set image_aspect_ratio: anyres, or leave it out.")
    elif data.image_grid_pinpoints is not None:
        parse_grids(data.image_grid_pinpoints, (data.resized_image_w, data.resized_image_h))


def check_training(training: TrainingArguments, *, data: DataArguments) -> None:
    """Make sure that the training asked for exists and its packages are installed."""
    check_tiles(data)
    if training.eval_strategy != "no" and not data.eval_data_path and not data.eval_benchmarks:
        raise ConfigError(
            "--eval_strategy needs something to ask: give --eval_data_path FILE of held-out records, or "
            "--eval_benchmarks."
        )
    check_choices(training)
    check_best(training, data)
    check_optimizer(training)
    if data.packing and training.train_sampling_strategy.startswith("group_by"):
        raise ConfigError(
            f"train_sampling_strategy {training.train_sampling_strategy} puts samples of one length together,"
            " and packing fills rows with samples of any. Leave one of them out."
        )
    if training.remove_unused_columns:
        raise ConfigError("remove_unused_columns would drop the regions from the batches. Leave it False.")
    if training.muon and (training.shares_out or training.deepspeed):
        raise ConfigError(
            "muon works on whole matrices, which fsdp and deepspeed take apart. Leave one of them out."
        )
    if training.max_nonfinite_losses and training.deepspeed:
        raise ConfigError(
            "max_nonfinite_losses: deepspeed has changed the weights when a loss is looked at. Leave one of "
            "them out; without it the first such loss stops the run."
        )
    if training.use_liger_kernel:
        require("liger_kernel", extra="liger")
    for service in training.report_to or ():
        if service in _EXTRAS:
            require(service, extra=_EXTRAS[service])
        elif importlib.util.find_spec(service) is None:
            raise ConfigError(f"--report_to {service}: the package is not installed; pip install {service}")


def check_attention(model: ModelArguments) -> None:
    """Make sure that the package of an attention back-end can be imported.

    Raises:
        MissingExtraError: it can't; with the reason.
    """
    wanted = model.attn_implementation or ""
    package = next((name for kind, name in _ATTENTION_PACKAGES.items() if wanted.endswith(kind)), None)
    if package is None:
        return
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(
            f"--attn_implementation {wanted} needs the package {package}, which can't be imported. It is "
            "built for one version of torch, so that no extra of mustela has it: pip install flash-attn, or "
            f"leave out --attn_implementation (the import said: {type(error).__name__}: {reason})"
        ) from error


def check_adapter_packages(stage: StageArguments) -> None:
    """Make sure that what adapters, quantisation and the optimizer need is installed and there."""
    training = stage.training
    optimizer = OptimizerNames(training.optim).value
    if training.bits in (4, 8) or any(word in optimizer for word in _OPTIMISERS_OF_BITSANDBYTES):
        require("bitsandbytes", extra="quantization")
    check_optimizer_package(training)
    if training.lora_weight_path and not is_adapter(resolve_model_path(training.lora_weight_path)):
        raise CheckpointError(
            f"--lora_weight_path {training.lora_weight_path} holds no adapter of mustela: looked for "
            f"{ADAPTER_FILE}."
        )
    check_adapter_base(stage)


def check_adapters(stage: StageArguments) -> None:
    """Make sure that the settings of adapters and quantisation go together."""
    training = stage.training
    if not training.lora_enable:
        if training.bits in (4, 8):
            raise ConfigError(
                f"bits {training.bits}: quantised weights can't learn; add --lora_enable to train adapters."
            )
        if training.lora_weight_path:
            raise ConfigError("lora_weight_path: add --lora_enable to go on with those adapters.")
        return
    if stage.model.tune_mm_mlp_adapter:
        raise ConfigError(
            "tune_mm_mlp_adapter trains the projector and the region encoder only, lora_enable adapters as "
            "well: choose one."
        )
    if training.lora_init != "default" and (training.bits in (4, 8) or training.lora_use_dora):
        with_what = "lora_use_dora" if training.lora_use_dora else f"bits {training.bits}"
        raise ConfigError(
            f"lora_init {training.lora_init} takes the main directions out of the weights, which {with_what} "
            "doesn't allow. Leave one of them out."
        )
    if training.lora_r < 1:
        raise ConfigError(f"lora_r is {training.lora_r}: the rank of adapters is 1 at least.")


def check_model_paths(model: ModelArguments, *, from_scratch: bool) -> None:
    """Make sure that the model's folders and files are there, where they are meant to be local."""
    if from_scratch:
        if model.model_name_or_path or model.vision_tower:
            raise ConfigError("from_scratch builds the model: leave out model_name_or_path and vision_tower.")
    elif model.model_name_or_path is None:
        raise ConfigError(
            "There is no model to train: give --model_name_or_path (a language model with --vision_tower, or "
            "a ready image-text-to-text model), or a recipe with a from_scratch section."
        )
    for name, value in (
        ("model_name_or_path", model.model_name_or_path),
        ("vision_tower", model.vision_tower),
    ):
        if value is not None and looks_local(value) and not Path(value).expanduser().is_dir():
            raise CheckpointError(f"--{name} {value}: there is no such folder. (Looked in {Path.cwd()}.)")
    if model.pretrain_mm_mlp_adapter is not None:
        read_tensors(Path(model.pretrain_mm_mlp_adapter))
