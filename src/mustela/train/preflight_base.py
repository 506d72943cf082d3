"""Where a run goes and what it goes on from, looked at before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from huggingface_hub.constants import is_offline_mode

from mustela.config.training import StageArguments, TrainingArguments
from mustela.errors import ConfigError
from mustela.model.adapter import read_adapter
from mustela.model.classic_config import ClassicConfig
from mustela.model.configuration import MustelaConfig
from mustela.model.packaged import resolve_model_path
from mustela.train.build import is_own_model, region_encoder_name

_FEATURES = {"default": "patch", "full": "cls_patch"}
# The region encoder that a ready model gets where none was asked for.
_UNASKED_ENCODER = "geo"


def check_output(training: TrainingArguments) -> None:
    """Make sure that the run folder can be a folder, and that a push has a network to go through.

    Raises:
        ConfigError: a file is in its place, or the Hub is switched off.
    """
    target = Path(str(training.output_dir)).expanduser()
    for path in (target, *target.parents):
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f"--output_dir {training.output_dir}: {path} is a file, and a run is written to a folder. "
                "Give another --output_dir."
            )
    if training.push_to_hub and is_offline_mode():
        raise ConfigError(
            "--push_to_hub True, but HF_HUB_OFFLINE switches the Hub off. Unset it, or leave out "
            "--push_to_hub and upload the final folder later."
        )


def check_adapter_base(stage: StageArguments) -> None:
    """Make sure that an adapter goes onto the kind of base that it was trained on.

    Raises:
        ConfigError: it doesn't; names both.
    """
    weights, name = stage.training.lora_weight_path, stage.model.model_name_or_path
    if not weights or name is None:
        return
    origin = read_adapter(resolve_model_path(weights)).origin
    trained_on = {
        "mustela": "a model of mustela",
        "ready": "a ready image-text-to-text model",
        "classic": "a language model with a vision tower",
    }[origin.kind]
    own = is_own_model(name)
    if own == (origin.kind == "mustela") or not (own or Path(name).is_dir()):
        return
    given = "a model of mustela" if own else "none of mustela's"
    raise ConfigError(
        f"--lora_weight_path {weights}: this adapter was trained on another kind of base, {trained_on} "
        f"({origin.model}), and --model_name_or_path {name} is {given}. Give the base that it was trained on."
    )


def check_kept(stage: StageArguments) -> None:
    """Make sure that nothing is asked of a model of mustela that it has settled otherwise.

    Settings that have their default may not have been given, and aren't looked at.

    Raises:
        ConfigError: a setting differs from the model's; names both values.
    """
    name = stage.model.model_name_or_path
    if name is None or stage.model.vision_tower is not None or not is_own_model(name):
        return
    folder = resolve_model_path(name)
    own = _settled(folder)
    for setting, asked in _asked(stage).items():
        if setting in own and asked != own[setting]:
            raise ConfigError(
                f"--{setting} {asked}: {name} has {own[setting]}, which was settled when it was built. Leave "
                f"--{setting} out, or build a model with --vision_tower or from_scratch."
            )


def _asked(stage: StageArguments) -> dict[str, Any]:
    """Return what was asked for, by flag: whatever differs from its default."""
    found: dict[str, Any] = {}
    for arguments, names in (
        (stage.model, ("mm_projector_type", "mm_vision_select_layer", "mm_vision_select_feature")),
        (stage.data, ("resized_image_h", "resized_image_w")),
    ):
        defaults = {item.name: item.default for item in fields(arguments)}
        found |= {
            name: getattr(arguments, name) for name in names if getattr(arguments, name) != defaults[name]
        }
    model = stage.model
    if model.region_encoder not in (None, _UNASKED_ENCODER) or (
        model.region_encoder is None and model.add_region_feature
    ):
        found["region_encoder"] = region_encoder_name(model)
    return found


def _settled(folder: Path) -> dict[str, Any]:
    """Return what a model has, by flag."""
    config: Any = MustelaConfig.from_pretrained(folder)
    own: dict[str, Any] = {"region_encoder": config.region_encoder}
    base = config.base_config
    if not isinstance(base, ClassicConfig):
        return own
    own["mm_projector_type"] = base.projector_type
    own["mm_vision_select_layer"] = base.vision_feature_layer
    own["mm_vision_select_feature"] = _FEATURES[str(base.vision_feature_select_strategy)]
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text("utf-8")).get("settings", {}) if file.is_file() else {}
    if settings.get("resized_image_wh"):
        own["resized_image_w"], own["resized_image_h"] = settings["resized_image_wh"]
    return own
