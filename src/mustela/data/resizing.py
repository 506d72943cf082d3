"""Resizing pictures with torch: several times as fast as Pillow, and the same but for rounding."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mustela.regions import Size
from mustela.regions.transform import Resizer

ResizeWith: TypeAlias = Literal["pillow", "torch"]


def resize_with_torch(image: Image.Image, size_wh: Size) -> Image.Image:
    """Resize an RGB picture, bicubic with antialiasing; a picture of that size is copied.

    The filter is Pillow's; sums are rounded otherwise, so some values differ by one or two of 255: from 640 x
    480 to 336 x 336 pixels eight in a thousand. Processors without AVX2 may round in their own way.
    """
    if image.size == size_wh:
        return image.copy()
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    resized = interpolate(pixels, size=size_wh[::-1], mode="bicubic", antialias=True)
    return Image.fromarray(np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy()))


RESIZERS: Final[dict[ResizeWith, Resizer | None]] = {"pillow": None, "torch": resize_with_torch}
"""What `mustela.regions` resizes with; None is its own way, Pillow's."""
