"""A fit by its numbers, for files that keep how coordinates are meant."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from mustela.errors import RegionError
from mustela.regions.transform import Fit, Resizer, Size


@dataclass(frozen=True)
class Frame(Fit):
    """Any fit by its numbers alone, as a file can keep them; it carries coordinates, not pictures."""

    target_wh: Size
    scale: tuple[float, float]
    shift: tuple[float, float]

    @classmethod
    def of(cls, fit: Fit) -> Frame:
        """Return the numbers of a fit."""
        return cls(fit.source_wh, fit.encoded_wh, fit.scale_xy, fit.shift_xy)

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the encoded picture."""
        return self.target_wh

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return self.scale

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Where the source's upper left corner lies in the encoded picture."""
        return self.shift

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Raise a `RegionError`: the numbers don't say how pixels are made."""
        raise RegionError("a Frame carries coordinates only; use the fit that it was made of.")
