"""One stage of a run: what learns, the trainer, the training, the model that is left."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from transformers import TrainerCallback
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mustela.config.training import StageArguments, TrainingArguments
from mustela.constants import IM_END_TOKEN, IM_START_TOKEN
from mustela.data.collator import Collator
from mustela.data.packing import PackedDataset
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.parts import parts as parts_of
from mustela.model.visibility import check_takes_segments
from mustela.train.adapters import FIRST_VALUES, make_learn, put_in_adapters
from mustela.train.build import Built
from mustela.train.checkpoint import checkpoints
from mustela.train.data import StageData
from mustela.train.features import open_feature_cache
from mustela.train.folder import RunFolder
from mustela.train.freezing import (
    Learning,
    Parts,
    apply_freezing,
    freeze_unread,
    learn_new_rows,
    plan_freezing,
)
from mustela.train.options import batch_size, data_seed
from mustela.train.order import EpochSampler, EpochView, Strategy
from mustela.train.progress import LogFile, ProgressBar
from mustela.train.projector import load_projector
from mustela.train.saving import final_dtype, gathered, save_model, save_parts
from mustela.train.setup import TrainerSetup
from mustela.train.trainer import MustelaTrainer

# Asks a model held-out questions: (model, processor, step) -> numbers by name.
Examiner = Callable[[MustelaForConditionalGeneration, MustelaProcessor, int], Mapping[str, float]]


@dataclass(frozen=True)
class StageRun:
    """A stage in its run: number from 1, arguments, data, and where it writes."""

    number: int
    stage: StageArguments
    data: StageData
    folder: RunFolder
    is_last: bool

    @property
    def path(self) -> Path:
        """Folder of the stage's checkpoints."""
        return self.folder.stage(self.number, self.stage.name)

    @property
    def model_folder(self) -> Path:
        """Where the stage's model goes."""
        return self.folder.final if self.is_last else self.path / "final"


def train_stage(
    run: StageRun, built: Built, *, checkpoint: Path | None, examiner: Examiner | None, console: Console
) -> Mapping[str, int]:
    """Train one stage and write its model.

    Args:
        run: the stage.
        built: model and processor that it begins with.
        checkpoint: complete checkpoint to go on from, or None.
        examiner: asks held-out questions at every evaluation, or None.
        console: for the progress.

    Returns:
        How often a sample was replaced by the next, by reason.
    """
    model, processor = built
    data, stage = run.data.arguments, run.stage
    _set_up_processor(processor, run.data)
    training = dataclasses.replace(stage.training, output_dir=str(run.path), report_to=[])
    first_values = run.path / FIRST_VALUES
    learning = set_up_learning(model, processor, stage, first_values=first_values)
    if data.packing or data.separate_rounds:
        check_takes_segments(model.base, branches=data.separate_rounds)
    reader, features = None, None
    if data.cache_vision_features is not None:
        reader, features = open_feature_cache(model, processor, stage)
    shown = processor.with_bytes()
    samples = run.data.training_set(shown, training, reader)
    if isinstance(samples, PackedDataset) and training.should_log:
        plan = samples.plan
        console.print(
            f"Packing: {plan.samples} samples in {len(plan)} rows of {training.model_max_length} ids,"
            f" {plan.fill:.1%} full.",
            highlight=False,
        )
    bar = ProgressBar(console, stage=stage.name)
    trainer = MustelaTrainer(
        model,
        setup=TrainerSetup(
            parts=learning.parts,
            sampler=_sampler(run.data, len(samples), training),
            save_processor=processor.save_pretrained,
            normaliser=processor.normaliser,
            trained_only=_trained_only(run),
            undecayed=learning.undecayed,
            new_rows=learning.new_rows,
            features=features,
            examine=None if examiner is None else _examine(examiner, processor),
            record_ids=run.data.files.ids,
            tell=lambda message: console.print(message, markup=False, highlight=False, soft_wrap=True),
        ),
        args=training,
        data_collator=Collator(processor.pad_token_id),
        train_dataset=EpochView(samples),
        eval_dataset=run.data.held_out(shown, training) if training.eval_strategy != "no" else None,
        callbacks=[
            LogFile(run.folder.log, stage=stage.name, epochs=not data.streaming),
            bar,
            *_reporters(run),
        ],
    )
    try:
        trainer.train_from(checkpoint)
    finally:
        bar.close()
        if features is not None:
            features.writer.close()
    dtype = final_dtype(training) if run.is_last else torch.float32
    weights = gathered(trainer)
    # What is built and saved from here on is whole.
    unset_hf_deepspeed_config()
    if run.is_last:
        save_parts(
            trainer,
            processor,
            run.folder.root,
            weights=weights,
            learning=learning,
            projector=stage.model.tune_mm_mlp_adapter,
            vision_tower=stage.model.save_vision_tower,
        )
    save_model(trainer, processor, run.model_folder, weights=weights, dtype=dtype, first_values=first_values)
    if training.should_save:
        first_values.unlink(missing_ok=True)
    if not run.is_last and training.should_save:
        for _, path in checkpoints(run.path):
            shutil.rmtree(path, ignore_errors=True)
    return samples.skipped


def _set_up_processor(processor: MustelaProcessor, data: StageData) -> None:
    """Let the processor, which is saved with the model, show regions and pictures as the stage does."""
    settings, resizer = processor.settings, data.arguments.image_resize
    style = data.arguments.coordinates or settings.coordinates
    settings = replace(settings, coordinates=style, no_coor=data.options.no_coor)
    if resizer is not None:
        if settings.image_aspect_ratio is None:
            raise ConfigError(
                f"image_resize is {resizer}, but this model's own image processor resizes; leave it out."
            )
        settings = replace(settings, image_resize=resizer)
    processor.settings = settings


def set_up_learning(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    stage: StageArguments,
    *,
    first_values: Path | None = None,
) -> Learning:
    """Load, freeze and put in adapters as the flags say."""
    training = stage.training
    plan = plan_freezing(
        stage.model, freeze_mm_mlp_adapter=training.freeze_mm_mlp_adapter, lora=training.lora_enable
    )
    marks = _mark_ids(processor)
    if stage.model.pretrain_mm_mlp_adapter is not None:
        if model.adapter is not None:
            raise ConfigError("pretrain_mm_mlp_adapter: the adapter brings its own projector; leave it out.")
        load_projector(
            model,
            Path(stage.model.pretrain_mm_mlp_adapter),
            parts=_parts(model),
            embedding=_embedding(model),
            token_ids=marks,
        )
    rows = list(marks.values())
    if training.lora_enable:
        put_in_adapters(model, training, rows=rows, plan=plan, first_values=first_values)
        parts = _parts(model)
        apply_freezing(model, plan, parts=parts)
        freeze_unread(model, parts=parts)
        return Learning(parts, make_learn(model, training))
    parts = _parts(model)
    apply_freezing(model, plan, parts=parts)
    freeze_unread(model, parts=parts)
    if plan.language_model or not rows:
        return Learning(parts)
    embedding = _embedding(model)
    learn_new_rows(embedding, rows)
    names = tuple(name for name, parameter in model.named_parameters() if parameter is embedding.weight)
    return Learning(parts, names, dict.fromkeys(names, rows))


def _parts(model: MustelaForConditionalGeneration) -> Parts:
    return {part: tuple(members) for part, members in parts_of(model).items()}


def _embedding(model: MustelaForConditionalGeneration) -> nn.Embedding:
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Embedding):
        raise ConfigError(
            f"The model's input embedding is a {type(embedding).__name__}; training needs a table."
        )
    return embedding


def _mark_ids(processor: MustelaProcessor) -> dict[str, int]:
    """Return the ids of the tokens that mark images; their embeddings learn even if all others are frozen."""
    if not processor.settings.mm_use_im_start_end:
        return {}
    return {
        token: processor.tokenizer.convert_tokens_to_ids(token) for token in (IM_START_TOKEN, IM_END_TOKEN)
    }


def _sampler(data: StageData, count: int, training: TrainingArguments) -> EpochSampler:
    strategy: Strategy = training.train_sampling_strategy  # type: ignore[assignment]
    if data.arguments.streaming:
        # They come in an order of their own.
        strategy = "sequential"
    grouped = strategy.startswith("group_by")
    return EpochSampler(
        count,
        seed=data_seed(training),
        strategy=strategy,
        lengths=data.lengths() if grouped else (),
        with_image=data.with_image() if grouped else (),
        batch_size=batch_size(training),
    )


def _trained_only(run: StageRun) -> bool:
    """Say whether checkpoints can do without the frozen weights, as the base model has them."""
    return run.stage.training.lora_enable or (
        run.number == 1
        and run.stage.model.tune_mm_mlp_adapter
        and run.stage.model.model_name_or_path is not None
    )


def _examine(
    examiner: Examiner, processor: MustelaProcessor
) -> Callable[[nn.Module, int], Mapping[str, float]]:
    def examine(model: Any, step: int) -> Mapping[str, float]:
        return examiner(model, processor, step)

    return examine


def _reporters(run: StageRun) -> list[TrainerCallback]:
    """Make the reporters that `report_to` names; tensorboard writes below the run folder."""
    from transformers.integrations.integration_utils import (
        TensorBoardCallback,
        get_reporting_integration_callbacks,
    )

    made: list[TrainerCallback] = []
    services = [service for service in run.stage.training.report_to or () if service]
    if "tensorboard" in services and run.stage.training.process_index == 0:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder.root / "tensorboard" / run.stage.name
        made.append(TensorBoardCallback(SummaryWriter(log_dir=str(folder))))
    others = [service for service in services if service != "tensorboard"]
    return made + [callback() for callback in get_reporting_integration_callbacks(others)]
