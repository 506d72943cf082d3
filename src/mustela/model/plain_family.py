"""The fallback for bases without an entry of their own, where the layout of image tokens is plain."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_MAPPING

from mustela.errors import ConfigError
from mustela.model import family_blanks as blanks
from mustela.model.family import Family, Inputs
from mustela.model.family_grids import patch_grid
from mustela.model.grids import FeatureGrids

PLAIN = Family(
    image_inputs=("pixel_values",),
    channels=lambda config: int(config.get_text_config().hidden_size),
    grids=lambda model, outputs, inputs: _token_grids(model, outputs, inputs),
    blank=blanks.square,
    title="any other",
    reads="image tokens, behind the projector, if they are a square of patches",
    tested="tiny DeepSeek-VL",
)
_NEEDED = ("image_size", "num_channels", "patch_size")


def why_not_plain(config: PreTrainedConfig | Any) -> str | None:
    """Say what is missing for the fallback to read a base; None: nothing is."""
    kind = type(config)
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or kind not in MODEL_MAPPING:
        return "transformers has no image-text-to-text model of this type"
    model: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[kind]
    members = dict(inspect.getmembers(MODEL_MAPPING[kind], inspect.isfunction))
    if "get_image_features" not in members:
        return "it has no get_image_features"
    if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
        return "it doesn't take pictures that are already encoded (mm_encoder_outputs)"
    needed = [
        name
        for name, each in inspect.signature(members["get_image_features"]).parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD and name != "self"
    ]
    if needed != ["pixel_values"]:
        return f"how its pictures lie in {', '.join(needed)} is not known"
    vision = config.to_dict().get("vision_config") or {}
    absent = [name for name in _NEEDED if not isinstance(vision.get(name), int)]
    return f"its vision_config has no {absent[0]}" if absent else None


def _token_grids(model: Any, outputs: Any, inputs: Inputs) -> FeatureGrids:
    tokens: Tensor | list[Tensor] = outputs.pooler_output
    rows, columns = patch_grid(model.config.vision_config, inputs["pixel_values"])
    count = tokens[0].shape[0]
    merge = next((side for side in range(1, rows + 1) if rows * columns == count * side * side), 0)
    if len(tokens) != len(inputs["pixel_values"]) or not merge or rows % merge or columns % merge:
        raise ConfigError(
            f"model_name_or_path: a base of type {model.config.model_type!r} makes {count} image tokens of"
            f" {rows} x {columns} patches: they are no grid that regions could be read from. `mustela bases`"
            " lists those that can."
        )
    grid = rows // merge, columns // merge
    return FeatureGrids.from_list([picture.unflatten(0, grid) for picture in tokens])
