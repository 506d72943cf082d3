"""Families of bases: where in a base's vision outputs the feature grid lies, and in which order.

Adding a base is one entry in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mustela.errors import ConfigError, CountMismatchError
from mustela.model.classic import ClassicModel
from mustela.model.classic_config import ClassicConfig
from mustela.model.grids import FeatureGrids


@dataclass(frozen=True)
class Family:
    """How to read regions from one kind of base.

    Attributes:
        image_inputs: arguments of the base's `get_image_features`, as its image processor makes them.
        position_inputs: those of them, and further ones, that the base's forward needs beside encoded images.
        channels: channels of the grid, from the base's configuration.
        grids: the grids, from the base's inner model, its vision outputs and the image inputs.
        blank: the image inputs of a small black picture, from the base's configuration.
        tested: what the tests cover.
        optional_inputs: further arguments of `get_image_features`, that not every model or batch has.
    """

    image_inputs: tuple[str, ...]
    position_inputs: tuple[str, ...]
    channels: Callable[[Any], int]
    grids: Callable[[Any, Any, Mapping[str, Tensor]], FeatureGrids]
    blank: Callable[[Any], dict[str, Tensor]]
    tested: str
    optional_inputs: tuple[str, ...] = ()


def _classic_grids(_model: ClassicModel, outputs: Any, _inputs: Mapping[str, Tensor]) -> FeatureGrids:
    grids: FeatureGrids = outputs["region_grids"]
    return grids


def _qwen3_vl_grids(model: Any, outputs: Any, inputs: Mapping[str, Tensor]) -> FeatureGrids:
    # Patches lie in windows of merge x merge, the windows in row-major order.
    merge = model.visual.spatial_merge_size
    grids = []
    sizes = inputs["image_grid_thw"].tolist()
    for patches, (_, height, width) in zip(
        outputs.last_hidden_state.split([t * h * w for t, h, w in sizes]), sizes, strict=True
    ):
        windows = patches.view(height // merge, width // merge, merge, merge, -1)
        grids.append(windows.transpose(1, 2).reshape(height, width, -1))
    return FeatureGrids.from_list(grids)


def _classic_blank(config: ClassicConfig) -> dict[str, Tensor]:
    vision: Any = config.vision_config
    picture = torch.zeros(1, vision.num_channels, vision.image_size, vision.image_size)
    if config.tile_order is None:
        return {"pixel_values": picture}
    side = int(vision.image_size)
    return {
        "pixel_values": picture,
        "tile_pixel_values": picture.expand(2, -1, -1, -1),
        "image_tiles": torch.tensor([[1, 2]]),
        "image_content": torch.tensor([[0, 0, 2 * side, side]]),
    }


def _qwen3_vl_blank(config: Any) -> dict[str, Tensor]:
    vision = config.vision_config
    side = vision.spatial_merge_size
    numbers = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "pixel_values": torch.zeros(side * side, numbers),
        "image_grid_thw": torch.tensor([[1, side, side]]),
    }


FAMILIES: dict[str, Family] = {
    "mustela_classic": Family(
        image_inputs=("pixel_values",),
        optional_inputs=("image_tiles", "image_content", "tile_pixel_values"),
        position_inputs=(),
        channels=lambda config: config.region_width,
        grids=_classic_grids,
        blank=_classic_blank,
        tested="CLIP, SigLIP and DINOv2 towers with Llama, Qwen3 and Gemma language models",
    ),
    "qwen3_vl": Family(
        image_inputs=("pixel_values", "image_grid_thw"),
        position_inputs=("image_grid_thw", "mm_token_type_ids"),
        channels=lambda config: config.vision_config.hidden_size,
        grids=_qwen3_vl_grids,
        blank=_qwen3_vl_blank,
        tested="tiny Qwen3-VL, native resolution",
    ),
}


def family_of(base_config: PreTrainedConfig) -> Family:
    """Return the family of a base.

    Raises:
        ConfigError: no family is known for this kind of base.
    """
    try:
        return FAMILIES[base_config.model_type]
    except KeyError:
        known = ", ".join(sorted(FAMILIES))
        hint = " Take it over first: mustela convert llava." if base_config.model_type == "llava" else ""
        raise ConfigError(
            f"model_name_or_path: no region family for bases of type {base_config.model_type!r}: it must say"
            f" which vision features make the grid and in which order. Known: {known}.{hint}"
        ) from None


@dataclass(frozen=True)
class ImageFeatures:
    """Encoded pictures, to be used for any number of questions.

    Attributes:
        outputs: what the base's `get_image_features` returned; `pooler_output` has one entry a picture.
        grids: the feature grids that regions are read from.
    """

    outputs: Any
    grids: FeatureGrids

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.outputs.pooler_output)

    def select(self, index: list[int]) -> ImageFeatures:
        """Return the pictures at `index`, in that order, with repeats."""
        outputs = self.outputs.__class__(pooler_output=[self.outputs.pooler_output[i] for i in index])
        deepstack = self.outputs.get("deepstack_features")
        if deepstack is not None:
            outputs["deepstack_features"] = [[layer[i] for i in index] for layer in deepstack]
        chosen = torch.tensor(index, device=self.grids.start.device, dtype=torch.long)
        return ImageFeatures(outputs, self.grids.select(chosen))

    def split(self) -> list[ImageFeatures]:
        """Return each picture alone, in memory of its own."""
        return [self.select([index])._copied() for index in range(len(self))]

    def _copied(self) -> ImageFeatures:
        outputs = self.outputs.__class__(
            pooler_output=[picture.clone() for picture in self.outputs.pooler_output]
        )
        deepstack = self.outputs.get("deepstack_features")
        if deepstack is not None:
            outputs["deepstack_features"] = [[picture.clone() for picture in layer] for layer in deepstack]
        return ImageFeatures(outputs, self.grids.copied())

    @classmethod
    def join(cls, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Return the pictures of several as one."""
        outputs = parts[0].outputs.__class__(
            pooler_output=[picture for part in parts for picture in part.outputs.pooler_output]
        )
        deepstacks = [part.outputs.get("deepstack_features") for part in parts]
        if deepstacks[0] is not None:
            outputs["deepstack_features"] = [
                [picture for layer in layers for picture in layer] for layers in zip(*deepstacks, strict=True)
            ]
        return cls(outputs, FeatureGrids.join([part.grids for part in parts]))

    @property
    def nbytes(self) -> int:
        """Memory that the features take, in bytes."""
        deepstack = self.outputs.get("deepstack_features") or ()
        pictures = [*self.outputs.pooler_output, *(picture for layer in deepstack for picture in layer)]
        return sum(tensor.nbytes for tensor in (self.grids.table, *pictures))


def encode_images(base: PreTrainedModel, inputs: Mapping[str, Tensor]) -> ImageFeatures:
    """Run the base's vision part once.

    Args:
        base: an image-text-to-text model.
        inputs: its image inputs; names of no family member are ignored.

    Raises:
        ConfigError: the base's kind is not known.
    """
    family = family_of(base.config)
    given = {name: inputs[name] for name in family.image_inputs}
    given |= {name: inputs[name] for name in family.optional_inputs if name in inputs}
    outputs = base.model.get_image_features(**given, return_dict=True)
    return ImageFeatures(outputs, family.grids(base.model, outputs, given))


def check_image_tokens(input_ids: Tensor, token_id: int, images: ImageFeatures | None) -> None:
    """Compare the image tokens of a batch with what the vision part made for them.

    Args:
        input_ids: `(B, T)`, image placeholders expanded.
        token_id: id of the image token.
        images: encoded pictures; None if there are none.

    Raises:
        CountMismatchError: the two numbers differ.
    """
    tokens = int((input_ids == token_id).sum())
    features = 0 if images is None else sum(len(each) for each in images.outputs.pooler_output)
    if tokens != features:
        raise CountMismatchError(
            f"The batch has {tokens} image tokens, but its {0 if images is None else len(images)} images give"
            f" {features} features. Use the model's own processor, and don't cut its ids."
        )
