"""The pictures of a sample: fitted and normalised for every encoder, and the ids that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mustela.data.fitting import fit_classic, fit_of_base
from mustela.data.normalising import normalise
from mustela.data.processor_settings import ProcessorSettings
from mustela.data.resizing import RESIZERS
from mustela.data.tiling import TileTokens
from mustela.regions import Size, Stretch, Tiled, Transform
from mustela.regions.transform import Resizer


@dataclass(frozen=True)
class Pictures:
    """Pictures as the model takes them.

    Attributes:
        inputs: the base's image tensors. With `anyres` also `tile_pixel_values (K, 3, h, w)`, the tiles of
            all pictures, `image_tiles (N, 2)`, rows and columns of them (0 where a picture has none), and
            `image_content (N, 4)`, left, top, right and bottom of the picture on its canvas in pixels. With a
            region tower also `region_pixel_values (N, 3, h, w)` and `region_window (N, 4)`, left, top, right
            and bottom of the whole picture in 0..1 of the encoded one.
        expansions: the ids that stand for each picture.
        transforms: how each was fitted.
    """

    inputs: dict[str, Tensor]
    expansions: list[list[int]]
    transforms: list[Transform]


def prepare_pictures(
    images: Sequence[Image.Image],
    base_processor: Any,
    settings: ProcessorSettings,
    *,
    tile_processor: Any = None,
    region_processor: Any = None,
) -> Pictures:
    """Fit and normalise pictures.

    Args:
        images: RGB.
        base_processor: the base's.
        settings: how pictures are fitted.
        tile_processor: image processor of the encoder of tiles; None: the base's.
        region_processor: image processor of the region tower; only read where `settings` have one.
    """
    if not images:
        return Pictures({}, [], [])
    image_processor = base_processor.image_processor
    transforms: list[Transform]
    resizer = RESIZERS[settings.image_resize]
    if settings.image_aspect_ratio is not None and settings.resized_image_wh is not None:
        size_wh = settings.resized_image_wh
        transforms = [
            fit_classic(settings.image_aspect_ratio, image.size, size_wh, grids_wh=settings.image_grids)
            for image in images
        ]
        fitted = [
            (Stretch(image.size, size_wh) if isinstance(transform, Tiled) else transform).apply(
                image, resizer=resizer
            )
            for transform, image in zip(transforms, images, strict=True)
        ]
        inputs = normalise(fitted, image_processor)
    else:
        inputs = image_processor(list(images), return_tensors="pt")
        transforms = [
            fit_of_base(image_processor, inputs, index, image.size) for index, image in enumerate(images)
        ]
    if settings.image_aspect_ratio == "anyres":
        count_tokens = tile_tokens(settings, base_processor)
        expansions = [
            [base_processor.image_token_id] * count_tokens.count(fit if isinstance(fit, Tiled) else None)
            for fit in transforms
        ]
        tensors = {**inputs, **_tile_inputs(images, transforms, tile_processor or image_processor, resizer)}
    else:
        expansions = [_expansion(base_processor, inputs, index) for index in range(len(images))]
        tensors = dict(inputs)
    if settings.region_image_wh is not None:
        tensors |= _region_inputs(images, transforms, region_processor, settings.region_image_wh, resizer)
    return Pictures(tensors, expansions, transforms)


def fits_of(
    sizes_wh: Sequence[Size], base_processor: Any, settings: ProcessorSettings
) -> tuple[Transform, ...]:
    """Return how pictures of these sizes are fitted, before there are any."""
    encoder_wh = settings.resized_image_wh
    if settings.image_aspect_ratio is not None and encoder_wh is not None:
        return tuple(
            fit_classic(settings.image_aspect_ratio, size, encoder_wh, grids_wh=settings.image_grids)
            for size in sizes_wh
        )
    return tuple(_fit_of_blank(base_processor.image_processor, size) for size in sizes_wh)


@lru_cache(maxsize=4096)
def _fit_of_blank(image_processor: Any, size_wh: Size) -> Transform:
    inputs = image_processor([Image.new("RGB", size_wh)], return_tensors="pt")
    return fit_of_base(image_processor, inputs, 0, size_wh)


def tile_tokens(settings: ProcessorSettings, base_processor: Any) -> TileTokens:
    """Return the layout of a tiled picture's tokens."""
    width, height = settings.resized_image_wh or (0, 0)
    overview, tile = base_processor.patch_size, settings.tile_patch or base_processor.patch_size
    return TileTokens(
        settings.tile_order, (height // overview, width // overview), (height // tile, width // tile)
    )


def _expansion(base_processor: Any, inputs: Any, index: int) -> list[int]:
    token = base_processor.image_token
    text = base_processor.replace_image_token(inputs, index)
    count = text.count(token)
    if count * len(token) == len(text):
        return [base_processor.tokenizer.convert_tokens_to_ids(token)] * count
    return list(base_processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def _tile_inputs(
    images: Sequence[Image.Image],
    transforms: Sequence[Transform],
    image_processor: Any,
    resizer: Resizer | None,
) -> dict[str, Tensor]:
    tiles: list[Image.Image] = []
    grids, contents = [], []
    for image, fit in zip(images, transforms, strict=True):
        if isinstance(fit, Tiled):
            tiles += fit.tiles(image, resizer=resizer)
            grids.append(fit.grid_wh[::-1])
            contents.append(fit.content_xyxy)
        else:
            grids.append((0, 0))
            contents.append((0, 0, *fit.encoded_wh))
    inputs = {"image_tiles": torch.tensor(grids), "image_content": torch.tensor(contents)}
    if tiles:
        inputs["tile_pixel_values"] = normalise(tiles, image_processor)["pixel_values"]
    return inputs


def _region_inputs(
    images: Sequence[Image.Image],
    transforms: Sequence[Transform],
    image_processor: Any,
    size_wh: Size,
    resizer: Resizer | None,
) -> dict[str, Tensor]:
    stretched = [Stretch(image.size, size_wh).apply(image, resizer=resizer) for image in images]
    windows: list[np.ndarray] = []
    for fit in transforms:
        corners = fit.points([(0, 0), fit.source_wh]) / fit.encoded_wh
        windows.append(corners.ravel())
    return {
        "region_pixel_values": normalise(stretched, image_processor)["pixel_values"],
        "region_window": torch.from_numpy(np.stack(windows)).float(),
    }
