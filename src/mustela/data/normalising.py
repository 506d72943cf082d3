"""Normalising pictures by a table of the base's own numbers: the same result in a fraction of the time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

_Table = npt.NDArray[np.float32]
_PROBE_SIDE = 16


def normalise(images: Sequence[Image.Image], image_processor: Any) -> dict[str, Tensor]:
    """Return `pixel_values (N, 3, H, W)` of RGB pictures that have their size already.

    Normalising gives each of the 256 values of a colour one number, so these are looked up, bit for bit as
    the image processor computes them. One that does more, as a trial shows, is called itself.

    Args:
        images: of one size, at least one.
        image_processor: of transformers; it must not change meanwhile.
    """
    table = _table(image_processor)
    sizes = {image.size for image in images}
    if table is None or len(sizes) != 1:
        return dict(image_processor(list(images), return_tensors="pt"))
    width, height = images[0].size
    pixels = np.empty((len(images), 3, height, width), dtype=np.float32)
    for image, planes in zip(images, pixels, strict=True):
        colors = np.asarray(image)
        for channel, plane in enumerate(planes):
            np.take(table[channel], colors[:, :, channel], out=plane, mode="clip")
    return {"pixel_values": torch.from_numpy(pixels)}


@lru_cache(maxsize=16)
def _table(image_processor: Any) -> _Table | None:
    """Return the number of each value of each channel `(3, 256)`; None where a pixel depends on others."""
    side = _PROBE_SIDE
    every = np.repeat(np.arange(256, dtype=np.uint8).reshape(side, side, 1), 3, axis=2)
    mixed = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    probes = [Image.fromarray(every), Image.fromarray(mixed)]
    try:
        found = dict(image_processor(probes, return_tensors="pt"))
    except (ValueError, TypeError):
        return None
    values = found.pop("pixel_values", None)
    if found or not isinstance(values, Tensor) or values.dtype != torch.float32:
        return None
    if values.shape != (2, 3, side, side):
        return None
    table: _Table = values[0].reshape(3, 256).numpy().copy()
    looked_up = np.stack([table[channel][mixed[:, :, channel]] for channel in range(3)])
    return table if np.array_equal(looked_up, values[1].numpy()) else None
