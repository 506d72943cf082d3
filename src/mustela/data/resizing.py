"""Resizing pictures with torch: several times as fast as Pillow, and the same but for rounding."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from mustela.regions import Size, Stretch, Transform
from mustela.regions.transform import Resizer

ResizeWith: TypeAlias = Literal["pillow", "torch"]
Planes: TypeAlias = npt.NDArray[np.uint8]


def fitted(image: Image.Image, transform: Transform, *, resize: ResizeWith) -> Planes:
    """Return the colour planes `(3, H, W)` uint8 of the encoded picture of an RGB picture.

    torch's filter is Pillow's, bicubic with antialiasing; sums are rounded otherwise, so some values differ
    by one or two of 255: from 640 x 480 to 336 x 336 pixels eight in a thousand. Processors without AVX2 may
    round in their own way.
    """
    if resize == "torch" and isinstance(transform, Stretch) and image.size == transform.source_wh:
        # torch gives planes, which needn't become a picture in between.
        return _resized(image, transform.target_wh)
    return planes(transform.apply(image, resizer=RESIZERS[resize]))


def planes(image: Image.Image) -> Planes:
    """Return the colour planes `(3, H, W)` uint8 of an RGB picture."""
    return np.asarray(image).transpose(2, 0, 1)


def resize_with_torch(image: Image.Image, size_wh: Size) -> Image.Image:
    """Resize an RGB picture, as `fitted` says; a picture of that size is copied."""
    if image.size == size_wh:
        return image.copy()
    return Image.merge("RGB", [Image.fromarray(plane) for plane in _resized(image, size_wh)])


def _resized(image: Image.Image, size_wh: Size) -> Planes:
    if image.size == size_wh:
        return planes(image)
    pixels = _pixels(image).permute(2, 0, 1)[None]
    return interpolate(pixels, size=size_wh[::-1], mode="bicubic", antialias=True)[0, :3].numpy()


def _pixels(image: Image.Image) -> Tensor:
    """Return an RGB picture's pixels `(H, W, 4)`, the last channel of no meaning, not to be written to.

    They are the picture's own memory, unless it is in several pieces, as that of large ones.
    """
    try:
        values = pa.array(image).values
    except ValueError:
        return torch.from_numpy(np.array(image.convert("RGBX")))
    width, height = image.size
    return torch.utils.dlpack.from_dlpack(values).view(height, width, 4)


RESIZERS: Final[dict[ResizeWith, Resizer | None]] = {"pillow": None, "torch": resize_with_torch}
"""What `mustela.regions` resizes with; None is its own way, Pillow's."""
