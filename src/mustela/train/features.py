"""A frozen vision tower whose features are kept on disk: later, no picture is decoded or encoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mustela.config.training import StageArguments, TrainingArguments
from mustela.data.feature_cache import FeatureReader, FeatureWriter, half
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.classic import ClassicModel
from mustela.model.classic_config import patch_size
from mustela.model.parts import parts
from mustela.train.freezing import plan_freezing
from mustela.train.options import augmentation_of

_FORMAT_VERSION = 1
_GIGABYTE = 10**9


def check_feature_cache(stage: StageArguments) -> None:
    """Make sure that what a cache of features keeps is the same at every epoch.

    Raises:
        ConfigError: it isn't; names the setting.
    """
    if stage.data.cache_vision_features is None:
        return
    learns = plan_freezing(
        stage.model,
        freeze_mm_mlp_adapter=stage.training.freeze_mm_mlp_adapter,
        lora=stage.training.lora_enable,
    ).vision_tower
    reasons = {
        "freeze_vision_tower is off: the tower's features change with every step": learns,
        "augment_* changes pictures at every epoch": augmentation_of(stage.data).changes,
        "image_aspect_ratio anyres makes features of many sizes": stage.data.image_aspect_ratio == "anyres",
        "region_tower looks at every picture itself": stage.model.region_tower is not None,
        "mm_vision_select_feature cls_patch reads more than the map": (
            stage.model.mm_vision_select_feature == "cls_patch"
        ),
        "fsdp and deepspeed take the tower apart": stage.training.shares_out or stage.training.deepspeed,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"cache_vision_features: {reason}. Leave one of them out.")
    if stage.data.cache_vision_features_gb <= 0:
        raise ConfigError("cache_vision_features_gb is a size above 0.")


@dataclass(frozen=True)
class KeptFeatures:
    """Puts the features of a batch's pictures in their place, and keeps those that are new.

    New features are rounded as kept ones are, so that a run is the same whatever was kept before it.

    Args:
        model: whose tower it is.
        writer: keeps what is new.
    """

    model: MustelaForConditionalGeneration
    writer: FeatureWriter

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch's inputs with `image_maps (N, H, W, C)` for all its pictures."""
        inputs = dict(inputs)
        kept: Tensor | None = inputs.pop("picture_kept", None)
        if kept is None or bool(kept.all()):
            return inputs
        maps = self._encode(inputs.pop("pixel_values"))
        keys, sizes = inputs.pop("picture_key").cpu(), inputs.pop("picture_size").tolist()
        for key, size_wh, features in zip(keys, sizes, maps, strict=True):
            self.writer.put(key.numpy().tobytes(), features, tuple(size_wh))
        joined = maps.new_empty(len(kept), *maps.shape[1:])
        joined[~kept] = maps
        if "image_maps" in inputs:
            joined[kept] = inputs["image_maps"]
        return {**inputs, "image_maps": joined}

    @torch.no_grad()
    def _encode(self, pixel_values: Tensor) -> Tensor:
        base = _classic(self.model)
        # Without dropout, as one drawing would be kept for good.
        was_training = base.vision_tower.training
        base.vision_tower.eval()
        maps = half(base.vision_maps(pixel_values))
        base.vision_tower.train(was_training)
        return maps


def open_feature_cache(
    model: MustelaForConditionalGeneration, processor: MustelaProcessor, stage: StageArguments
) -> tuple[FeatureReader, KeptFeatures]:
    """Open the cache that a stage names, for its tower and its way of fitting pictures.

    Raises:
        ConfigError: the model has no such tower, or the folder can't be written.
    """
    base = _classic(model)
    if any(parameter.requires_grad for parameter in parts(model)["vision_tower"].values()):
        raise ConfigError(
            "cache_vision_features: some of the vision tower's weights learn. Leave it out, or keep adapters"
            " away from the tower (lora_target_modules)."
        )
    root = Path(str(stage.data.cache_vision_features))
    folder = root / _digest(base, processor, stage.training)
    width, height = processor.settings.resized_image_wh or (0, 0)
    vision: Any = base.config.vision_config
    patch = patch_size(vision)
    shape_hwc = height // patch, width // patch, base.config.layer_width
    limit = int(stage.data.cache_vision_features_gb * _GIGABYTE)
    writer = FeatureWriter(folder, root=root, max_bytes=limit, writers=stage.training.world_size)
    return FeatureReader(folder, shape_hwc), KeptFeatures(model, writer)


def _classic(model: MustelaForConditionalGeneration) -> ClassicModel:
    base: Any = model.base.model
    if not isinstance(base, ClassicModel):
        raise ConfigError(
            "cache_vision_features works for the composition of --vision_tower and a language model; the base"
            f" is of type {model.base.config.model_type}. Leave it out."
        )
    return base


def _digest(base: ClassicModel, processor: MustelaProcessor, training: TrainingArguments) -> str:
    """Return what tells one tower and one way of fitting pictures from others: 32 hex digits."""
    vision: Any = base.config.vision_config
    settings = {
        "format": _FORMAT_VERSION,
        "layer": base.config.vision_feature_layer,
        "tower": vision.to_dict(),
        "pictures": processor.base_processor.image_processor.to_dict(),
        "fit": [processor.settings.image_aspect_ratio, processor.settings.resized_image_wh],
        "numbers": [training.bf16, training.fp16, str(base.vision_tower.dtype)],
    }
    made = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(base.vision_tower.state_dict().items()):
        made.update(name.encode())
        made.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return made.hexdigest()[:32]
