"""Normalising pictures by a table of the base's own numbers: the same result in a fraction of the time.

Samples for training hold pictures as bytes, a quarter of what normalised ones take; a `Normaliser` finishes
them where the step is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mustela.data.resizing import Planes

_Table = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Normaliser:
    """Normalises pictures that a batch holds as bytes.

    Args:
        image_processors: of transformers, by the input whose pictures they normalise; they must not change.
    """

    image_processors: Mapping[str, Any]

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch's inputs with `(N, 3, H, W)` float32 in place of uint8, on the same device."""
        made = dict(inputs)
        for name, image_processor in self.image_processors.items():
            pixels, table = made.get(name), _table(image_processor)
            if table is not None and isinstance(pixels, Tensor) and pixels.dtype == torch.uint8:
                made[name] = _looked_up(pixels, table)
        return made


def _looked_up(pixels: Tensor, table: _Table) -> Tensor:
    # On a processor, numpy takes a third of the time of torch.
    if pixels.device.type == "cpu":
        return torch.from_numpy(_taken(pixels.numpy(), table))
    return _gathered(pixels, table)


def _gathered(pixels: Tensor, table: _Table) -> Tensor:
    numbers = torch.from_numpy(table).to(pixels.device)
    return torch.stack([numbers[channel][pixels[:, channel].long()] for channel in range(3)], dim=1)


def _taken(pictures: Sequence[Planes] | Planes, table: _Table) -> _Table:
    values = np.empty((len(pictures), *pictures[0].shape), dtype=np.float32)
    for picture, made in zip(pictures, values, strict=True):
        for channel, of_channel, plane in zip(picture, table, made, strict=True):
            np.take(of_channel, channel, out=plane, mode="clip")
    return values


def normalise(
    pictures: Sequence[Planes], image_processor: Any, *, as_bytes: bool = False
) -> dict[str, Tensor]:
    """Return `pixel_values (N, 3, H, W)` of pictures that have their size already.

    Normalising gives each of the 256 values of a colour one number, so these are looked up, bit for bit as
    the image processor computes them. One that does more, as a trial shows, is called itself.

    Args:
        pictures: colour planes `(3, H, W)` of RGB pictures of one size, at least one.
        image_processor: of transformers; it must not change meanwhile.
        as_bytes: leave them uint8 for a `Normaliser`, unless the image processor does more.
    """
    table = _table(image_processor)
    if table is None or len({picture.shape for picture in pictures}) != 1:
        images = [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures]
        return dict(image_processor(images, return_tensors="pt"))
    values = np.stack(pictures) if as_bytes else _taken(pictures, table)
    return {"pixel_values": torch.from_numpy(values)}


@lru_cache(maxsize=16)
def _table(image_processor: Any) -> _Table | None:
    """Return the number of each value of each channel `(3, 256)`; None where a pixel depends on others."""
    # Two shapes that no encoder takes: a processor that changes sizes shows it at one of them at least.
    every = np.repeat(np.resize(np.arange(256, dtype=np.uint8), (16, 17, 1)), 3, axis=2)
    mixed = np.random.default_rng(0).integers(0, 256, (19, 13, 3), dtype=np.uint8)
    seen, expected = (_values(image_processor, pixels) for pixels in (every, mixed))
    if seen is None or expected is None:
        return None
    table = np.ascontiguousarray(seen.reshape(3, -1)[:, :256])
    looked_up = np.stack([table[channel][mixed[:, :, channel]] for channel in range(3)])
    return table if np.array_equal(looked_up, expected) else None


def _values(image_processor: Any, pixels: npt.NDArray[np.uint8]) -> _Table | None:
    """Return what a processor makes of a picture, `(3, H, W)`; None where it does more to it."""
    try:
        found = dict(image_processor([Image.fromarray(pixels)], return_tensors="pt"))
    except (ValueError, TypeError):
        return None
    values = found.pop("pixel_values", None)
    if found or not isinstance(values, Tensor) or values.dtype != torch.float32:
        return None
    if values.shape != (1, 3, *pixels.shape[:2]):
        return None
    made: _Table = values[0].numpy()
    return made
