"""How a base's own image processor fitted a picture, read off what it made of it.

Most processors stretch the whole picture to what the encoder takes, so that shares of the sides stay as they
are; some crop, pad or cut into tiles. A way that isn't known is refused, as regions would be misplaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from mustela.data.overlapping_crops import pooled_canvas
from mustela.errors import ConfigError
from mustela.regions import CenterCrop, Identity, Pad, Size, Stretch, Tiled, Transform

# Processors that only stretch to `size`, unless a switch below says otherwise.
_STRETCHING = (
    "BlipImageProcessor", "CLIPImageProcessor", "Gemma3ImageProcessor", "SiglipImageProcessor",
    "ViTImageProcessor",
)  # fmt: skip


@dataclass(frozen=True)
class BaseFit:
    """How a picture was fitted.

    Attributes:
        transform: from the picture to the encoded one: of a base of tiles, to the canvas that they make.
        tiles_rc: rows and columns of tiles, 0 where there are none; None: a base without tiles.
    """

    transform: Transform
    tiles_rc: tuple[int, int] | None = None

    @property
    def content_xyxy(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the picture on the canvas, in pixels."""
        if isinstance(self.transform, Tiled):
            return self.transform.content_xyxy
        return (0, 0, *self.transform.encoded_wh)

    def inputs(self) -> dict[str, Tensor]:
        """Return `image_tiles (1, 2)` and `image_content (1, 4)` of a base of tiles."""
        if self.tiles_rc is None:
            return {}
        return {
            "image_tiles": torch.tensor([self.tiles_rc]),
            "image_content": torch.tensor([self.content_xyxy]),
        }


def fit_of_base(image_processor: Any, made: Mapping[str, Any], size_wh: Size) -> BaseFit:
    """Read off how a base's image processor fitted a picture.

    Args:
        image_processor: the base's.
        made: what it made of that picture alone.
        size_wh: the picture's size before.

    Raises:
        ConfigError: the processor fits pictures in a way that isn't known.
    """
    if "image_grid_thw" in made:
        _, rows, columns = (int(n) for n in made["image_grid_thw"][0])
        patch = int(image_processor.patch_size)
        return BaseFit(Stretch(size_wh, (columns * patch, rows * patch)))
    if "image_position_ids" in made:
        columns, rows = (int(n) + 1 for n in made["image_position_ids"][0].amax(0))
        patch = int(image_processor.patch_size)
        return BaseFit(Stretch(size_wh, (columns * patch, rows * patch)))
    if "image_grids" in made:
        low_rows, low_columns, rows, columns = (int(n) for n in made["image_grids"][0])
        canvas = pooled_canvas(made["image_token_pooling"][low_rows * low_columns :], (rows, columns))
        patch = int(image_processor.patch_size)
        return BaseFit(Stretch(size_wh, (canvas.patches_wh[0] * patch, canvas.patches_wh[1] * patch)))
    if "rows" in made:
        return _split(made, size_wh)
    if "num_patches" in made:
        return _patches(image_processor, made, size_wh)
    if "image_sizes" in made and made["pixel_values"].dim() == 5:
        return _pinpoints(image_processor, made, size_wh)
    if "image_sizes" in made:
        height, width = (int(n) for n in made["image_sizes"][0])
        return BaseFit(Stretch(size_wh, (width, height)))
    return BaseFit(_square(image_processor, made, size_wh))


def _split(made: Mapping[str, Any], size_wh: Size) -> BaseFit:
    """Idefics3, SmolVLM: stretched to a multiple of the tile, which is cut up; then the whole as one tile."""
    (rows,), (columns,) = made["rows"][0], made["cols"][0]
    height, width = (int(n) for n in made["pixel_values"].shape[-2:])
    if "pixel_attention_mask" in made and not bool(made["pixel_attention_mask"].all()):
        raise ConfigError(
            "The image processor pads pictures instead of stretching them to the encoder's square: set"
            " do_image_splitting in its preprocessor_config.json, or do_resize."
        )
    canvas = max(columns, 1) * width, max(rows, 1) * height
    return BaseFit(Stretch(size_wh, canvas), (int(rows), int(columns)))


def _patches(image_processor: Any, made: Mapping[str, Any], size_wh: Size) -> BaseFit:
    """InternVL: stretched to the canvas of tiles that is nearest in aspect; then the whole as one tile."""
    height, width = (int(n) for n in made["pixel_values"].shape[-2:])
    tiles = int(made["num_patches"][0])
    if tiles == 1:
        return BaseFit(Stretch(size_wh, (width, height)), (0, 0))
    columns, rows = get_optimal_tiled_canvas(
        size_wh[::-1], (height, width), image_processor.min_patches, image_processor.max_patches
    )
    if tiles != rows * columns + 1:
        raise ConfigError(
            f"The image processor {type(image_processor).__name__} made {tiles} tiles of a picture of"
            f" {size_wh[0]}x{size_wh[1]}, where {columns} x {rows} and an overview were expected."
        )
    return BaseFit(Stretch(size_wh, (columns * width, rows * height)), (rows, columns))


def _pinpoints(image_processor: Any, made: Mapping[str, Any], size_wh: Size) -> BaseFit:
    """LLaVA-NeXT and OneVision: the whole as one tile, then tiles of a canvas that keeps the aspect ratio."""
    height, width = (int(n) for n in made["pixel_values"].shape[-2:])
    down, across = select_best_resolution(size_wh[::-1], image_processor.image_grid_pinpoints)
    rows, columns = down // height, across // width
    return BaseFit(Tiled(size_wh, (width, height), (columns, rows)), (rows, columns))


def _square(image_processor: Any, made: Mapping[str, Any], size_wh: Size) -> Transform:
    """Return the transform to one picture of a fixed size."""
    height, width = (int(n) for n in made["pixel_values"][0].shape[-2:])
    kind = type(image_processor).__name__.removesuffix("Pil").removesuffix("Fast")
    switches = image_processor.to_dict()
    crop = switches.get("do_center_crop")
    if switches.get("do_pad") and kind == "LlavaImageProcessor":
        return Pad(size_wh, (width, height))
    if not switches.get("do_resize"):
        if size_wh == (width, height):
            return Identity(size_wh)
    elif crop and switches["size"].get("shortest_edge"):
        return CenterCrop(size_wh, (width, height), int(switches["size"]["shortest_edge"]))
    elif not crop and kind in _STRETCHING and switches["size"].get("height") == height:
        if made.get("num_crops") is not None and int(made["num_crops"][0]):
            raise ConfigError(
                "The image processor adds crops of a picture, which regions aren't read from: set"
                " do_pan_and_scan: false in its preprocessor_config.json."
            )
        return Stretch(size_wh, (width, height))
    raise ConfigError(
        f"The image processor {type(image_processor).__name__} fits pictures in a way that mustela can't"
        f" follow: {size_wh[0]}x{size_wh[1]} became {width}x{height}. It follows those that stretch, crop the"
        " middle, or cut into tiles as the bases of `mustela bases` do."
    )
