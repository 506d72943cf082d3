"""From arguments to the options of what makes samples."""

from __future__ import annotations

from mustela.config import DataArguments, ModelArguments
from mustela.config.training import TrainingArguments
from mustela.data.augment import Augmentation
from mustela.data.check import CheckOptions
from mustela.data.processor import DigitWeights
from mustela.data.render import RenderOptions
from mustela.errors import ConfigError


def data_seed(training: TrainingArguments) -> int:
    """Return the seed of what is drawn for samples and their order."""
    return training.seed if training.data_seed is None else training.data_seed


def batch_size(training: TrainingArguments) -> int:
    """Return the samples of a step, over all processes and accumulation."""
    return training.train_batch_size * training.world_size * training.gradient_accumulation_steps


def check_options(data: DataArguments) -> CheckOptions:
    """Collect how records are read and checked."""
    return CheckOptions(
        box_format=data.box_format,
        data_format=data.data_format,
        size_policy=data.size_policy,
        images=data.check_images,
        absolute_paths=data.absolute_paths,
        symlinks=data.symlinks,
        max_image_pixels=data.max_image_pixels,
    )


def render_options(model: ModelArguments, data: DataArguments) -> RenderOptions:
    """Collect how regions are written into texts."""
    has_feature = model.add_region_feature if model.region_encoder is None else model.region_encoder != "none"
    return RenderOptions(
        point_input_sample=data.point_input_sample,
        refer_previous_point=data.refer_previous_point,
        no_coor=model.no_coor,
        add_region_feature=has_feature,
        clamp="last_pixel" if model.sampling_geometry == "original" else "edge",
        box_input=data.box_input,
    )


def augmentation_of(data: DataArguments) -> Augmentation:
    """Collect how pictures change."""
    return Augmentation(
        flip=data.augment_flip,
        turn=data.augment_turn,
        color=data.augment_color,
        crop=data.augment_crop,
        crop_visible=data.augment_crop_visible,
        scale=data.augment_scale,
        flip_words=data.augment_flip_words,
    )


def digit_weights(data: DataArguments) -> DigitWeights | None:
    """Return the weights of a coordinate's digits, None for equal ones.

    Raises ConfigError where coordinates aren't written in bins.
    """
    if not data.coordinate_digit_weights:
        return None
    if data.coordinates in ("json_yx", "unit", "pixels", "tokens", "resized"):
        raise ConfigError(
            "coordinate_digit_weights are weights of the digits of bins; with coordinates"
            f" {data.coordinates}, leave them empty."
        )
    hundreds, tens, units = data.coordinate_digit_weights
    return hundreds, tens, units
