"""Training on files that are read as they come."""

from __future__ import annotations

from dataclasses import fields

from mustela.config import DataArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.data.making import SampleMaker
from mustela.data.processor import MustelaProcessor
from mustela.data.render import RenderOptions
from mustela.data.streamed import StreamedSamples
from mustela.errors import ConfigError
from mustela.train.options import augmentation_of, batch_size, data_seed, digit_weights
from mustela.train.records import StreamedFiles


def check_streaming(stage: StageArguments) -> None:
    """Make sure that nothing is asked for that only counted records allow.

    Raises:
        ConfigError: something is; names the setting and what to do.
    """
    data, training = stage.data, stage.training
    defaults = {item.name: item.default for item in fields(DataArguments)}
    if not data.streaming:
        if data.shuffle_buffer_size != defaults["shuffle_buffer_size"]:
            raise ConfigError("shuffle_buffer_size is for streaming: add --streaming True, or leave it out.")
        return
    if data.shuffle_buffer_size < 0:
        raise ConfigError(f"shuffle_buffer_size is {data.shuffle_buffer_size}: a number of records, from 0.")
    if training.max_steps <= 0:
        raise ConfigError(
            "streaming: nobody counts the records, so --num_train_epochs doesn't say when to stop. Give"
            " --max_steps N; an epoch has records / (batch size x accumulation x processes) steps."
        )
    strategy = training.train_sampling_strategy
    reasons = {
        "data_multiple is a share of counted records; name a file twice in data_path to use it twice an"
        " epoch": bool(data.data_multiple),
        "packing looks at the lengths of all records first": data.packing,
        f"train_sampling_strategy {strategy} needs all records at once, random and sequential don't": (
            strategy not in ("random", "sequential")
        ),
        "cache_vision_features is for pictures that have files of their own": (
            data.cache_vision_features is not None
        ),
    }
    for name in ("save_strategy", "eval_strategy", "logging_strategy"):
        reasons[f"{name} epoch waits for the end of an epoch, which nobody knows; take {name} steps"] = (
            training.to_dict()[name] == "epoch"
        )
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"streaming: {reason}. Change it, or leave out --streaming.")


def streamed_samples(
    files: StreamedFiles,
    processor: MustelaProcessor,
    *,
    options: RenderOptions,
    data: DataArguments,
    training: TrainingArguments,
) -> StreamedSamples:
    """Make the samples of a stage, as many as its steps use."""
    augmentation = augmentation_of(data)
    maker = SampleMaker(
        processor,
        options,
        data_seed(training),
        max_length=training.model_max_length,
        digit_weights=digit_weights(data),
        separate_rounds=data.separate_rounds,
        augmentation=augmentation if augmentation.changes else None,
    )
    return StreamedSamples(
        files.source,
        maker,
        length=training.max_steps * batch_size(training),
        shuffle=training.train_sampling_strategy != "sequential",
        buffer_size=data.shuffle_buffer_size,
        on_bad_record=data.on_bad_record,
        on_bad_image=data.on_bad_image,
    )
