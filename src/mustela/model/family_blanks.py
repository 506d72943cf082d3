"""A small picture for each kind of base, for batches without any where the vision part must run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def square(config: Any) -> dict[str, Tensor]:
    """Return a picture of the encoder's size; the smallest where the encoder takes any (Pixtral)."""
    vision = config.vision_config
    if vision.model_type == "pixtral":
        return native(config)
    return {"pixel_values": torch.zeros(1, vision.num_channels, *_sides(vision.image_size))}


def native(config: Any) -> dict[str, Tensor]:
    """Return a picture of two tokens of an encoder that takes any size; one is less than some can split."""
    side = config.vision_config.patch_size * config.to_dict().get("spatial_merge_size", 1)
    return {
        "pixel_values": torch.zeros(1, config.vision_config.num_channels, side, 2 * side),
        "image_sizes": torch.tensor([[side, 2 * side]]),
    }


def windows(config: Any) -> dict[str, Tensor]:
    """Return a picture of one window of patches."""
    vision = config.vision_config
    side = vision.spatial_merge_size
    numbers = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "pixel_values": torch.zeros(side * side, numbers),
        "image_grid_thw": torch.tensor([[1, side, side]]),
    }


def positions(config: Any) -> dict[str, Tensor]:
    """Return a picture of one pooled token of patches with positions."""
    vision = config.vision_config
    side = vision.pooling_kernel_size
    place = torch.arange(side)
    return {
        "pixel_values": torch.zeros(1, side * side, 3 * vision.patch_size**2),
        "image_position_ids": torch.cartesian_prod(place, place).flip(-1)[None],
    }


def crops(config: Any) -> dict[str, Tensor]:
    """Return an overview and one crop, of which one token each is read."""
    vision = config.vision_config
    height, width = _sides(vision.image_size)
    patches = (height // vision.patch_size) * (width // vision.patch_size)
    return {
        "pixel_values": torch.zeros(2, patches, vision.num_channels * vision.patch_size**2),
        "image_token_pooling": torch.tensor([[0, -1, -1, -1], [patches, -1, -1, -1]]),
        "image_grids": torch.ones(1, 4, dtype=torch.long),
        "image_num_crops": torch.tensor([2]),
    }


def pinpoints(config: Any) -> dict[str, Tensor]:
    """Return an overview and the tiles of the smallest canvas."""
    vision = config.vision_config
    side = vision.image_size
    height, width = min(config.image_grid_pinpoints, key=lambda canvas: canvas[0] * canvas[1])
    rows, columns = height // side, width // side
    return {
        "pixel_values": torch.zeros(1, 1 + rows * columns, vision.num_channels, side, side),
        "image_sizes": torch.tensor([[height, width]]),
        **_layout(rows, columns, (height, width)),
    }


def tile(config: Any) -> dict[str, Tensor]:
    """Return an overview without tiles."""
    height, width = _sides(config.vision_config.image_size)
    return {**square(config), **_layout(0, 0, (height, width))}


def nested_tile(config: Any) -> dict[str, Tensor]:
    """Return an overview without tiles, in a list of pictures; grey, as zeros mean that there is none."""
    pixels = torch.full_like(square(config)["pixel_values"][None], 0.5)
    return {**tile(config), "pixel_values": pixels}


def _layout(rows: int, columns: int, canvas_hw: tuple[int, int]) -> dict[str, Tensor]:
    return {
        "image_tiles": torch.tensor([[rows, columns]]),
        "image_content": torch.tensor([[0, 0, canvas_hw[1], canvas_hw[0]]]),
    }
