"""What the configuration files of Ferret and LLaVA folders say, in both public layouts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import AutoConfig, AutoImageProcessor, CLIPImageProcessorPil, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mustela.errors import CheckpointError
from mustela.model.classic_config import ProjectorName

__all__ = ["Layout", "pick_image_processor", "projector_type", "read_config", "read_layout"]

# What these configurations called themselves before the name of the language model's kind.
_OWN_KINDS = ("llava", "ferret")
_OLD_KEYS = ("rope_theta", "rope_scaling")


@dataclass(frozen=True)
class Layout:
    """How a folder describes its model.

    Attributes:
        is_ready: transformers' own layout, which holds its vision tower.
        text_config: of the language model.
        vision_config: of the vision tower.
        select_layer: the vision tower's layer that is read.
        select_feature: `patch` or `cls_patch`.
        use_im_start_end: pictures stand between `<im_start>` and `<im_end>`.
        image_aspect_ratio: as the folder says, None where it doesn't.
        pooling: of the sampler; None where the folder doesn't say.
        region_token_id: None where the folder doesn't say.
        projector: kind of the projector, for one that is made afresh.
        region_encoder: kind that the folder says it has, for one that is made afresh.
    """

    is_ready: bool
    text_config: PreTrainedConfig
    vision_config: PreTrainedConfig
    select_layer: int
    select_feature: Literal["patch", "cls_patch"]
    use_im_start_end: bool = False
    image_aspect_ratio: str | None = None
    pooling: Literal["max", "mean"] | None = None
    region_token_id: int | None = None
    projector: ProjectorName = "mlp2x_gelu"
    region_encoder: Literal["geo", "mean"] | None = None


def read_config(folder: Path) -> dict[str, Any]:
    """Read a folder's config.json.

    Raises:
        CheckpointError: there is none, or it isn't JSON.
    """
    file = folder / "config.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no model's folder: it has no config.json.") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    return content


def read_layout(source: Path, *, tower: Path | None) -> Layout:
    """Read how a folder describes its model.

    Args:
        source: the folder.
        tower: folder of its vision tower, for the authors' layout.

    Raises:
        CheckpointError: it describes none, or its vision tower isn't there.
    """
    raw = read_config(source)
    if "text_config" in raw and "vision_config" in raw:
        return _ready_layout(source)
    if tower is None:
        named = raw.get("mm_vision_tower") or raw.get("vision_tower") or "a CLIP model"
        raise CheckpointError(
            f"{source} has no vision_tower folder: give --vision_tower DIR, a folder with {named}."
        )
    vision: Any = AutoConfig.from_pretrained(tower)
    if "vision_config" in vision.sub_configs:
        vision = vision.vision_config
    feature: Any = raw.get("mm_vision_select_feature") or "patch"
    if feature not in ("patch", "cls_patch"):
        raise CheckpointError(f"{source}: mm_vision_select_feature is {feature!r}, not patch or cls_patch.")
    pooling = raw.get("sampler_pooler_mode")
    if pooling not in ("max", "mean", None):
        raise CheckpointError(f"{source}: sampler_pooler_mode is {pooling!r}, not max or mean.")
    layer = raw.get("mm_vision_select_layer")
    if layer is None:
        raise CheckpointError(f"{source}/config.json has no mm_vision_select_layer: is it a Ferret or LLaVA?")
    return Layout(
        is_ready=False,
        text_config=_text_config(source, raw),
        vision_config=vision,
        select_layer=int(layer),
        select_feature=feature,
        use_im_start_end=bool(raw.get("mm_use_im_start_end")),
        image_aspect_ratio=raw.get("image_aspect_ratio"),
        pooling=pooling,
        region_token_id=raw.get("im_region_fea_token"),
        projector="mlp2x_gelu" if raw.get("mm_projector_type") == "mlp2x_gelu" else "linear",
        region_encoder=(
            "geo" if raw.get("region_geo_sampler") else "mean" if raw.get("region_fea_adapter") else None
        ),
    )


def _ready_layout(source: Path) -> Layout:
    config: Any = AutoConfig.from_pretrained(source)
    if config.model_type != "llava":
        raise CheckpointError(
            f"{source} is a {config.model_type!r} model; `mustela convert llava` reads LLaVA 1.5 folders. "
            "Other image-text-to-text models are trained on directly: mustela train --model_name_or_path."
        )
    layer = config.vision_feature_layer
    if not isinstance(layer, int):
        raise CheckpointError(f"{source}: several vision_feature_layer {layer} are not converted.")
    return Layout(
        is_ready=True,
        text_config=config.text_config,
        vision_config=config.vision_config,
        select_layer=layer,
        select_feature="patch" if config.vision_feature_select_strategy == "default" else "cls_patch",
    )


def _text_config(source: Path, raw: Mapping[str, Any]) -> PreTrainedConfig:
    kind = str(raw.get("model_type", ""))
    own, _, rest = kind.partition("_")
    if own.lower() in _OWN_KINDS:
        kind = rest.lower() or "llama"
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{source}: model_type {raw.get('model_type')!r} names no language model that transformers has."
        )
    known = [*CONFIG_MAPPING[kind]().to_dict(), *_OLD_KEYS]
    kept = {
        key: raw[key]
        for key in known
        if key in raw and key not in ("model_type", "architectures", "transformers_version", "dtype")
    }
    if (kept.get("pad_token_id") or 0) < 0:
        kept["pad_token_id"] = None
    return AutoConfig.for_model(kind, **kept)


def projector_type(
    source: Path, names: Iterable[str], *, otherwise: ProjectorName | None = None
) -> ProjectorName:
    """Tell the kind of a projector from our names of its tensors.

    Args:
        source: folder, for messages.
        names: of all tensors there are.
        otherwise: kind where they don't tell; None: that is an error.

    Raises:
        CheckpointError: there is none, or one of another kind.
    """
    prefix = "base.model.multi_modal_projector."
    layers = {name.removeprefix(prefix).rpartition(".")[0] for name in names if name.startswith(prefix)}
    if layers == {""}:
        return "linear"
    if layers == {"linear_1", "linear_2"}:
        return "mlp2x_gelu"
    if otherwise is not None:
        return otherwise
    if not layers:
        raise CheckpointError(
            f"{source} has no projector (mm_projector): it is a language model, or a delta or adapter whose "
            "projector lies elsewhere."
        )
    raise CheckpointError(
        f"{source}: its projector has the layers {', '.join(sorted(layers))}; known are one linear layer and "
        "two with GELU."
    )


def pick_image_processor(folders: Iterable[Path | None]) -> Any:
    """Load the first image processor that there is, else CLIP's; it only normalises, fitting is ours."""
    for folder in folders:
        if folder is not None and (folder / "preprocessor_config.json").is_file():
            processor = AutoImageProcessor.from_pretrained(folder)
            break
    else:
        processor = CLIPImageProcessorPil()
    processor.do_resize = False
    processor.do_center_crop = False
    return processor
