"""Masks: regions of any shape, as run-length counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mustela.errors import RegionError
from mustela.regions import raster as fill
from mustela.regions import rle
from mustela.regions.checks import XY, XYXY, set_fields


@dataclass(frozen=True, slots=True)
class Mask:
    """Any set of pixels of an image of `size_hw`, as COCO's compressed run-length `counts`.

    `ends`, made from them, are where each run ends, in pixels down the columns.
    """

    size_hw: tuple[int, int]
    counts: bytes
    ends: rle.Ends = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the counts; a `RegionError` if they are malformed or don't fill the image."""
        size_hw, counts = rle.read_rle({"size": self.size_hw, "counts": self.counts})
        set_fields(self, size_hw=size_hw, counts=counts, ends=rle.run_ends([(size_hw, counts)])[0])

    @classmethod
    def from_array(cls, mask_hw: npt.NDArray[np.bool_]) -> Mask:
        """Make a mask of a bool array `(H, W)`; numbers are refused, pass `array != 0`."""
        if mask_hw.ndim != 2 or mask_hw.dtype != np.bool_ or mask_hw.size == 0:
            raise RegionError(f"a mask is a bool array (H, W), got {mask_hw.dtype} of shape {mask_hw.shape}.")
        height, width = mask_hw.shape
        return cls((height, width), rle.compress(mask_hw))

    @classmethod
    def from_rle(cls, rle_object: Mapping[str, object]) -> Mask:
        """Make a mask of `{"size": [h, w], "counts": ...}` with counts as str, bytes (compressed) or list.

        The object is never changed. Counts that don't fill the image are a `RegionError`.
        """
        return cls.from_rles([rle_object])[0]

    @classmethod
    def from_rles(cls, rle_objects: Sequence[Mapping[str, object]]) -> list[Mask]:
        """Make masks as `from_rle` does, in less time than one by one."""
        read = [rle.read_rle(rle_object) for rle_object in rle_objects]
        masks = []
        for (size_hw, counts), ends in zip(read, rle.run_ends(read) if read else (), strict=True):
            mask = object.__new__(cls)
            set_fields(mask, size_hw=size_hw, counts=counts, ends=ends)
            masks.append(mask)
        return masks

    @classmethod
    def from_file(cls, path: str | Path) -> Mask:
        """Read a mask from an image, a `.npy` array or a `.json` RLE object.

        Of an image with transparency, the pixels that are at least half opaque are inside; of a palette
        image, those not of index 0; of any other, those brighter than half of the brightest. An array must be
        `(H, W)`, and what is not zero is inside. A file that can't be read is an `ImageError` or
        `RegionError` with its path.
        """
        # Here, as reading images needs Pillow's plug-ins, which most users of this module never touch.
        from mustela.regions.image import read_mask

        path = Path(path)
        try:
            if path.suffix.lower() == ".npy":
                array = np.load(path, allow_pickle=False)
                return cls.from_array(array != 0)
            if path.suffix.lower() == ".json":
                return cls.from_rle(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise RegionError(f"{path}: not a mask: {error}") from error
        return cls.from_array(read_mask(path))

    def to_rle(self) -> dict[str, object]:
        """Return `{"size": [h, w], "counts": str}`, new on each call and fit for JSON."""
        return {"size": list(self.size_hw), "counts": self.counts.decode("ascii")}

    def bounds_xyxy(self) -> XYXY:
        """Return the box round the pixels; a `RegionError` if there are none."""
        found = rle.bounds(self.ends, self.size_hw[0])
        if found is None:
            raise RegionError("mask has no pixel inside, so it has no bounding box.")
        return found

    def raster(self, size_wh: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the pixels, `(H, W)` bool; a `RegionError` if the mask belongs to another image size."""
        self.check_size(size_wh)
        return rle.decompress(self.ends, self.size_hw)

    def window(self, size_wh: tuple[int, int]) -> rle.Window:
        """Return the columns and rows of its pixels as two half-open ranges; (0, 0) where there are none.

        A `RegionError` if the mask belongs to another image size.
        """
        self.check_size(size_wh)
        left, top, right, bottom = map(int, rle.bounds(self.ends, self.size_hw[0]) or (0, 0, 0, 0))
        return (left, right), (top, bottom)

    def cut(self, window: rle.Window) -> npt.NDArray[np.bool_]:
        """Return the raster's columns and rows of a window, without making the rest."""
        return rle.decompress_window(self.ends, self.size_hw[0], window)

    def holds(self, column: int, row: int) -> bool:
        """Say whether a pixel of the image is inside."""
        return rle.holds(self.ends, column * self.size_hw[0] + row)

    def area(self, size_wh: tuple[int, int]) -> int:
        """Return the number of pixels; a `RegionError` if the mask belongs to another image size."""
        self.check_size(size_wh)
        return rle.area(self.ends)

    def anchor(self, size_wh: tuple[int, int]) -> XY:
        """Return the centre of a pixel near the middle; a `RegionError` if the mask is empty."""
        return fill.anchor_of(self.raster(size_wh), "mask")

    def check_size(self, size_wh: tuple[int, int]) -> None:
        """Raise a `RegionError` that names both sizes if the mask is not for an image of `size_wh`."""
        width, height = fill.check_size(size_wh)
        mask_height, mask_width = self.size_hw
        if (mask_height, mask_width) == (height, width):
            return
        message = f"mask is {mask_width} wide x {mask_height} high, the image {width} wide x {height} high."
        if (mask_height, mask_width) == (width, height):
            message += (
                " The sides are exchanged: an RLE size is [height, width] ([w, h] given?), "
                "and masks belong to the picture after its EXIF rotation (EXIF?)."
            )
        raise RegionError(message + " Masks are never resized silently.")
