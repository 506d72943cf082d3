"""Pictures as the model takes them: fitted and normalised for every encoder, and the ids for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mustela.data.base_fitting import fit_of_base
from mustela.data.fitting import fit_classic
from mustela.data.joining import join_pictures
from mustela.data.normalising import normalise
from mustela.data.processor_settings import ProcessorSettings
from mustela.data.resizing import RESIZERS, ResizeWith, fitted, planes
from mustela.data.tiling import TileTokens
from mustela.errors import ConfigError
from mustela.regions import Size, Stretch, Tiled, Transform

# What image processors make for the ids that stand for a picture; no model takes it.
_FOR_EXPANSIONS = (
    "batch_num_images", "cols", "num_crops", "num_patches", "num_soft_tokens_per_image", "rows",
)  # fmt: skip


@dataclass(frozen=True)
class PreparedImage:
    """A picture as the model takes it, for any number of samples.

    Attributes:
        size_wh: the picture's own size.
        inputs: the base's image tensors. With tiles also `image_tiles (1, 2)`, rows and columns of them (0
            where it has none), and `image_content (1, 4)`, left, top, right and bottom of the picture on its
            canvas in pixels; with `anyres` `tile_pixel_values (K, 3, h, w)`, if any. With a region tower
            also `region_pixel_values (1, 3, h, w)` and `region_window (1, 4)`, left, top, right and bottom of
            the whole picture in 0..1 of the encoded one.
        expansion: the ids that stand for it.
        transform: from its pixels to those of the encoded picture.
    """

    size_wh: Size
    inputs: Mapping[str, Tensor]
    expansion: Sequence[int]
    transform: Transform


def prepare_image(
    image: Image.Image,
    base_processor: Any,
    settings: ProcessorSettings,
    *,
    tile_processor: Any = None,
    region_processor: Any = None,
    as_bytes: bool = False,
) -> PreparedImage:
    """Fit and normalise a picture.

    Args:
        image: RGB.
        base_processor: the base's.
        settings: how pictures are fitted.
        tile_processor: image processor of the encoder of tiles; None: the base's.
        region_processor: image processor of the region tower; only read where `settings` have one.
        as_bytes: leave normalising to a `Normaliser` where that gives the same.
    """
    image_processor = base_processor.image_processor
    resize = settings.image_resize
    layout: dict[str, Tensor] = {}
    transform = _classic_fit(image.size, settings)
    if transform is not None:
        overview = transform
        if isinstance(transform, Tiled):
            overview = Stretch(image.size, settings.resized_image_wh or image.size)
        inputs = normalise([fitted(image, overview, resize=resize)], image_processor, as_bytes=as_bytes)
    else:
        inputs = image_processor([image], **_options(base_processor))
        fit = fit_of_base(image_processor, inputs, image.size)
        transform, layout = fit.transform, fit.inputs()
    tensors = {name: value for name, value in inputs.items() if name not in _FOR_EXPANSIONS} | layout
    expansion = _expansion(transform, inputs, base_processor, settings)
    if settings.image_aspect_ratio == "anyres":
        tiles_by = tile_processor or image_processor
        tensors |= _tile_inputs(image, transform, tiles_by, resize, as_bytes=as_bytes)
    if settings.region_image_wh is not None:
        wanted = settings.region_image_wh
        tensors |= _region_inputs(image, transform, region_processor, wanted, resize, as_bytes=as_bytes)
    return PreparedImage(image.size, tensors, expansion, transform)


def place_image(
    size_wh: Size, base_processor: Any, settings: ProcessorSettings, *, inputs: Mapping[str, Tensor]
) -> PreparedImage:
    """Return what `prepare_image` makes of a picture of this size, with other tensors in place of its own.

    Only where mustela fits pictures itself; anything else would need the picture.

    Raises:
        ConfigError: the base's image processor fits them.
    """
    transform = _classic_fit(size_wh, settings)
    if transform is None or settings.resized_image_wh is None:
        raise ConfigError(
            "The base's image processor fits pictures in its own way: their tokens can't be counted without"
            " them. packing and cache_vision_features need the composition of --vision_tower and a language"
            " model."
        )
    width, height = settings.resized_image_wh
    shape_only = {"pixel_values": torch.zeros(1, 1, 1, 1).expand(1, 3, height, width)}
    expansion = _expansion(transform, shape_only, base_processor, settings)
    return PreparedImage(size_wh, inputs, expansion, transform)


def join_inputs(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the image tensors of several pictures or samples as those of one; some may lack some."""
    if len(inputs) == 1:
        return dict(inputs[0])
    names = dict.fromkeys(name for each in inputs for name in each)
    return {name: join_pictures([each[name] for each in inputs if name in each]) for name in names}


def fits_of(
    sizes_wh: Sequence[Size], base_processor: Any, settings: ProcessorSettings
) -> tuple[Transform, ...]:
    """Return how pictures of these sizes are fitted, before there are any."""
    return tuple(_classic_fit(size, settings) or _fit_of_blank(base_processor, size) for size in sizes_wh)


@lru_cache(maxsize=4096)
def _fit_of_blank(base_processor: Any, size_wh: Size) -> Transform:
    image_processor = base_processor.image_processor
    inputs = image_processor([Image.new("RGB", size_wh)], **_options(base_processor))
    return fit_of_base(image_processor, inputs, size_wh).transform


def tile_tokens(settings: ProcessorSettings, base_processor: Any) -> TileTokens:
    """Return the layout of a tiled picture's tokens."""
    width, height = settings.resized_image_wh or (0, 0)
    overview, tile = base_processor.patch_size, settings.tile_patch or base_processor.patch_size
    return TileTokens(
        settings.tile_order, (height // overview, width // overview), (height // tile, width // tile)
    )


def _options(base_processor: Any) -> dict[str, Any]:
    """Return what a base's processor asks of its image processor beside the latter's own settings."""
    options: dict[str, Any] = base_processor._merge_kwargs(return_tensors="pt")["images_kwargs"]
    return options


def _classic_fit(size_wh: Size, settings: ProcessorSettings) -> Transform | None:
    if settings.image_aspect_ratio is None or settings.resized_image_wh is None:
        return None
    return fit_classic(
        settings.image_aspect_ratio, size_wh, settings.resized_image_wh, grids_wh=settings.image_grids
    )


def _expansion(
    transform: Transform, inputs: Any, base_processor: Any, settings: ProcessorSettings
) -> list[int]:
    if settings.image_aspect_ratio == "anyres":
        tiled = transform if isinstance(transform, Tiled) else None
        return [base_processor.image_token_id] * tile_tokens(settings, base_processor).count(tiled)
    if set(inputs) == {"pixel_values"}:
        return _expansion_of(base_processor, tuple(inputs["pixel_values"].shape))
    return _written_expansion(base_processor, inputs)


@lru_cache(maxsize=64)
def _expansion_of(base_processor: Any, shape: tuple[int, ...]) -> list[int]:
    """Return the ids of a picture of which processors look at nothing but the shape; not to be changed."""
    return _written_expansion(base_processor, {"pixel_values": torch.zeros(1).expand(shape)})


def _written_expansion(base_processor: Any, inputs: Any) -> list[int]:
    token, tokenizer = base_processor.image_token, base_processor.tokenizer
    text = base_processor.replace_image_token(inputs, 0)
    count = text.count(token)
    if count * len(token) != len(text):
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [tokenizer.convert_tokens_to_ids(token)] * count


def _tile_inputs(
    image: Image.Image, fit: Transform, image_processor: Any, resize: ResizeWith, *, as_bytes: bool
) -> dict[str, Tensor]:
    if not isinstance(fit, Tiled):
        content = torch.tensor([(0, 0, *fit.encoded_wh)])
        return {"image_tiles": torch.tensor([(0, 0)]), "image_content": content}
    tiles = [planes(tile) for tile in fit.tiles(image, resizer=RESIZERS[resize])]
    return {
        "image_tiles": torch.tensor([fit.grid_wh[::-1]]),
        "image_content": torch.tensor([fit.content_xyxy]),
        "tile_pixel_values": normalise(tiles, image_processor, as_bytes=as_bytes)["pixel_values"],
    }


def _region_inputs(
    image: Image.Image,
    fit: Transform,
    image_processor: Any,
    size_wh: Size,
    resize: ResizeWith,
    *,
    as_bytes: bool,
) -> dict[str, Tensor]:
    stretched = fitted(image, Stretch(image.size, size_wh), resize=resize)
    corners = fit.points([(0, 0), fit.source_wh]) / fit.encoded_wh
    return {
        "region_pixel_values": normalise([stretched], image_processor, as_bytes=as_bytes)["pixel_values"],
        "region_window": torch.from_numpy(corners.ravel()[None]).float(),
    }
