"""The pictures of a sample: fitted and normalised for every encoder, and the ids that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PaliGemmaProcessor

from mustela.data.base_fitting import BaseFit, fit_of_base
from mustela.data.fitting import fit_classic
from mustela.data.joining import join_pictures
from mustela.data.processor_settings import ProcessorSettings
from mustela.data.tiling import TileTokens
from mustela.regions import Size, Stretch, Tiled, Transform

# What image processors make for the ids that stand for a picture; no model takes it.
_FOR_EXPANSIONS = (
    "batch_num_images", "cols", "num_crops", "num_patches", "num_soft_tokens_per_image", "rows",
)  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """Pictures as the model takes them.

    Attributes:
        inputs: the base's image tensors. Where there are tiles also `image_tiles (N, 2)`, rows and columns of
            them (0 where a picture has none), and `image_content (N, 4)`, left, top, right and bottom of the
            picture on its canvas in pixels; with `anyres` `tile_pixel_values (K, 3, h, w)`, the tiles of all
            pictures. With a region tower also `region_pixel_values (N, 3, h, w)` and `region_window (N, 4)`,
            left, top, right and bottom of the whole picture in 0..1 of the encoded one.
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
    if settings.image_aspect_ratio is None or settings.resized_image_wh is None:
        made = _fitted_by_base(images, base_processor)
    else:
        made = _fitted_here(images, base_processor, settings, tile_processor)
    if settings.region_image_wh is None:
        return made
    regions = _region_inputs(images, made.transforms, region_processor, settings.region_image_wh)
    return Pictures({**made.inputs, **regions}, made.expansions, made.transforms)


def _fitted_here(
    images: Sequence[Image.Image], base_processor: Any, settings: ProcessorSettings, tile_processor: Any
) -> Pictures:
    """Fit pictures as `settings` say; the base's image processor only normalises them."""
    normalise, size_wh = base_processor.image_processor, settings.resized_image_wh or (0, 0)
    aspect = settings.image_aspect_ratio or ""
    transforms = [fit_classic(aspect, image.size, size_wh, grids_wh=settings.image_grids) for image in images]
    fitted = [
        (Stretch(image.size, size_wh) if isinstance(transform, Tiled) else transform).apply(image)
        for transform, image in zip(transforms, images, strict=True)
    ]
    inputs = normalise(fitted, return_tensors="pt")
    if aspect == "anyres":
        count_tokens = tile_tokens(settings, base_processor)
        expansions = [
            [base_processor.image_token_id] * count_tokens.count(fit if isinstance(fit, Tiled) else None)
            for fit in transforms
        ]
        inputs = {**inputs, **_tile_inputs(images, transforms, tile_processor or normalise)}
    else:
        expansions = [_expansion(base_processor, inputs, index) for index in range(len(images))]
    return Pictures(dict(inputs), expansions, transforms)


def _fitted_by_base(images: Sequence[Image.Image], base_processor: Any) -> Pictures:
    """Let the base's image processor fit pictures, each by itself: some take a list for one of many parts."""
    options = base_processor._merge_kwargs(return_tensors="pt")["images_kwargs"]
    each, fits, expansions = [], [], []
    for image in images:
        made = base_processor.image_processor([image], **options)
        fit: BaseFit = fit_of_base(base_processor.image_processor, made, image.size)
        fits.append(fit)
        expansions.append(_expansion(base_processor, made, 0))
        tensors = {name: value for name, value in made.items() if name not in _FOR_EXPANSIONS}
        each.append({**tensors, **fit.inputs()})
    joined = {name: join_pictures([tensors[name] for tensors in each]) for name in each[0]}
    return Pictures(joined, expansions, [fit.transform for fit in fits])


def tile_tokens(settings: ProcessorSettings, base_processor: Any) -> TileTokens:
    """Return the layout of a tiled picture's tokens."""
    width, height = settings.resized_image_wh or (0, 0)
    overview, tile = base_processor.patch_size, settings.tile_patch or base_processor.patch_size
    return TileTokens(
        settings.tile_order, (height // overview, width // overview), (height // tile, width // tile)
    )


def _expansion(base_processor: Any, inputs: Any, index: int) -> list[int]:
    token, tokenizer = base_processor.image_token, base_processor.tokenizer
    text = base_processor.replace_image_token(inputs, index)
    count = text.count(token)
    if count * len(token) != len(text):
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    # PaliGemma begins its text behind the picture.
    begin = [tokenizer.bos_token_id] if isinstance(base_processor, PaliGemmaProcessor) else []
    return [tokenizer.convert_tokens_to_ids(token)] * count + begin


def _tile_inputs(
    images: Sequence[Image.Image], transforms: Sequence[Transform], normalise: Any
) -> dict[str, Tensor]:
    tiles: list[Image.Image] = []
    grids, contents = [], []
    for image, fit in zip(images, transforms, strict=True):
        if isinstance(fit, Tiled):
            tiles += fit.tiles(image)
            grids.append(fit.grid_wh[::-1])
            contents.append(fit.content_xyxy)
        else:
            grids.append((0, 0))
            contents.append((0, 0, *fit.encoded_wh))
    inputs = {"image_tiles": torch.tensor(grids), "image_content": torch.tensor(contents)}
    if tiles:
        inputs["tile_pixel_values"] = normalise(tiles, return_tensors="pt")["pixel_values"]
    return inputs


def _region_inputs(
    images: Sequence[Image.Image], transforms: Sequence[Transform], normalise: Any, size_wh: Size
) -> dict[str, Tensor]:
    stretched = [Stretch(image.size, size_wh).apply(image) for image in images]
    windows: list[np.ndarray] = []
    for fit in transforms:
        corners = fit.points([(0, 0), fit.source_wh]) / fit.encoded_wh
        windows.append(corners.ravel())
    return {
        "region_pixel_values": normalise(stretched, return_tensors="pt")["pixel_values"],
        "region_window": torch.from_numpy(np.stack(windows)).float(),
    }
