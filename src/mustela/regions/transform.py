"""Ways of fitting an image to an encoder, each with its exact inverse.

All are a scale and a shift of each axis between continuous pixel coordinates of the source (the upright
original image) and of the encoded picture. Points, boxes and masks go through the same numbers as the picture
itself, so what is drawn on one frame can be shown on the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mustela.errors import RegionError
from mustela.regions.raster import check_size
from mustela.regions.types import Box

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Size: TypeAlias = tuple[int, int]
Resizer: TypeAlias = Callable[[Image.Image, Size], Image.Image]

GREY = (127, 127, 127)


@dataclass(frozen=True)
class Fit:
    """What all transforms share: `encoded = source * scale + shift`, axis by axis."""

    source_wh: Size

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the encoded picture."""
        return self.source_wh

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return 1.0, 1.0

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Where the source's upper left corner lies in the encoded picture."""
        return 0.0, 0.0

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Return the encoded picture of a picture of `source_wh`; another size is a `RegionError`.

        `resizer` changes the size in place of `resize`, where it changes.
        """
        self._check_source(image.size)
        return image.copy()

    def points(self, xy: npt.ArrayLike) -> FloatArray:
        """Carry points `(N, 2)` from source pixels to encoded pixels; they may fall outside the picture."""
        encoded: FloatArray = _as_points(xy) * np.array(self.scale_xy) + np.array(self.shift_xy)
        return encoded

    def inverse_points(self, xy: npt.ArrayLike) -> FloatArray:
        """Carry points `(N, 2)` from encoded pixels back to source pixels."""
        source: FloatArray = (_as_points(xy) - np.array(self.shift_xy)) / np.array(self.scale_xy)
        return source

    def box(self, box: Box) -> Box:
        """Carry a box from the source to the encoded picture, without clipping it there."""
        return Box(*self.points(np.reshape(box.bounds_xyxy(), (2, 2))).ravel().tolist())

    def inverse_box(self, box: Box) -> Box:
        """Carry a box from the encoded picture back to the source, without clipping it there."""
        return Box(*self.inverse_points(np.reshape(box.bounds_xyxy(), (2, 2))).ravel().tolist())

    def mask(self, mask_hw: BoolArray) -> BoolArray:
        """Carry a bool mask of the source to one of the encoded picture.

        An encoded pixel is set when the source pixel under its centre is. Where nothing is made smaller or
        cut off, `inverse_mask` gives the mask back exactly.
        """
        self._check_source((mask_hw.shape[1], mask_hw.shape[0]))
        grid = self.inverse_points(_diagonal_centres(self.encoded_wh))
        return _gather(mask_hw, grid, self.encoded_wh)

    def inverse_mask(self, mask_hw: BoolArray) -> BoolArray:
        """Carry a bool mask of the encoded picture to the source; False where the encoder saw nothing."""
        if mask_hw.shape != self.encoded_wh[::-1]:
            raise _wrong_size("mask", (mask_hw.shape[1], mask_hw.shape[0]), self.encoded_wh)
        grid = self.points(_diagonal_centres(self.source_wh))
        return _gather(mask_hw, grid, self.source_wh)

    def visible(self, xy: npt.ArrayLike) -> BoolArray:
        """Say of points `(N, 2)` in source pixels whether they are in both pictures, bool `(N,)`."""
        source = _as_points(xy)
        in_source = (source >= 0) & (source < np.array(self.source_wh))
        encoded = self.points(source)
        in_encoded = (encoded >= 0) & (encoded < np.array(self.encoded_wh))
        both = in_source & in_encoded
        seen: BoolArray = both[:, 0] & both[:, 1]
        return seen

    def _check_source(self, size_wh: Size) -> None:
        if tuple(size_wh) != self.source_wh:
            raise _wrong_size("image or mask", size_wh, self.source_wh)


@dataclass(frozen=True)
class Identity(Fit):
    """The picture as it is."""

    def __post_init__(self) -> None:
        """Check the size."""
        check_size(self.source_wh)


@dataclass(frozen=True)
class Stretch(Fit):
    """Resize to `target_wh` without keeping the aspect ratio (`square_nocrop`), bicubic."""

    target_wh: Size

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_size(self.source_wh)
        check_size(self.target_wh)

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the encoded picture."""
        return self.target_wh

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return self.target_wh[0] / self.source_wh[0], self.target_wh[1] / self.source_wh[1]

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Return the encoded picture of a picture of `source_wh`; another size is a `RegionError`."""
        self._check_source(image.size)
        return (resizer or resize)(image, self.target_wh)


@dataclass(frozen=True)
class Pad(Fit):
    """Put the picture in the middle of the smallest canvas of the target's aspect ratio, then resize that.

    Without `target_wh` the canvas is the smallest square and isn't resized. `fill` colours the margins;
    encoders whose margins should read as zero want their mean colour there.
    """

    target_wh: Size | None = None
    fill: tuple[int, int, int] = GREY

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_size(self.source_wh)
        check_size(self.target_wh or (1, 1))

    @property
    def canvas_wh(self) -> Size:
        """Width and height of the padded picture before it is resized."""
        width, height = self.source_wh
        across, down = self.target_wh or (1, 1)
        return max(width, math.ceil(height * across / down)), max(height, math.ceil(width * down / across))

    @property
    def margin_xy(self) -> tuple[int, int]:
        """Columns to the left of the picture and rows above it, on the canvas."""
        canvas = self.canvas_wh
        return (canvas[0] - self.source_wh[0]) // 2, (canvas[1] - self.source_wh[1]) // 2

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the encoded picture."""
        return self.target_wh or self.canvas_wh

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return self.encoded_wh[0] / self.canvas_wh[0], self.encoded_wh[1] / self.canvas_wh[1]

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Where the source's upper left corner lies in the encoded picture."""
        return self.margin_xy[0] * self.scale_xy[0], self.margin_xy[1] * self.scale_xy[1]

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Return the encoded picture of a picture of `source_wh`; another size is a `RegionError`."""
        self._check_source(image.size)
        canvas = Image.new("RGB", self.canvas_wh, self.fill)
        canvas.paste(image, self.margin_xy)
        return (resizer or resize)(canvas, self.encoded_wh)


@dataclass(frozen=True)
class CenterCrop(Fit):
    """Resize so that the shorter side has `shortest_edge` pixels, then cut `crop_wh` out of the middle.

    The longer side is rounded down, as CLIP's preprocessing does. `shortest_edge=None` cuts without resizing.
    A crop larger than the picture is filled with `fill`.
    """

    crop_wh: Size
    shortest_edge: int | None = None
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_size(self.source_wh)
        check_size(self.crop_wh)
        check_size(self.resized_wh)

    @property
    def resized_wh(self) -> Size:
        """Width and height after resizing, before cutting."""
        width, height = self.source_wh
        if self.shortest_edge is None:
            return self.source_wh
        if width <= height:
            return self.shortest_edge, int(self.shortest_edge * height / width)
        return int(self.shortest_edge * width / height), self.shortest_edge

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Columns and rows that are cut off on the left and above; negative where added."""
        return (self.resized_wh[0] - self.crop_wh[0]) // 2, (self.resized_wh[1] - self.crop_wh[1]) // 2

    @property
    def encoded_wh(self) -> Size:
        """Width and height of the encoded picture."""
        return self.crop_wh

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Encoded pixels a source pixel, for x and y."""
        return self.resized_wh[0] / self.source_wh[0], self.resized_wh[1] / self.source_wh[1]

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Where the source's upper left corner lies in the encoded picture."""
        return -float(self.offset_xy[0]), -float(self.offset_xy[1])

    def apply(self, image: Image.Image, *, resizer: Resizer | None = None) -> Image.Image:
        """Return the encoded picture of a picture of `source_wh`; another size is a `RegionError`."""
        self._check_source(image.size)
        canvas = Image.new("RGB", self.crop_wh, self.fill)
        resized = (resizer or resize)(image, self.resized_wh)
        canvas.paste(resized, (-self.offset_xy[0], -self.offset_xy[1]))
        return canvas


def resize(image: Image.Image, size_wh: Size) -> Image.Image:
    """Resize, bicubic; a picture of that size is copied."""
    return image.copy() if image.size == size_wh else image.resize(size_wh, Image.Resampling.BICUBIC)


def _as_points(xy: npt.ArrayLike) -> FloatArray:
    points = np.asarray(xy, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise RegionError(f"points are an array (N, 2) of x, y; got shape {points.shape}.")
    return points


def _diagonal_centres(size_wh: Size) -> FloatArray:
    """Return points that hold the pixel centres of both axes; the shorter axis repeats its last."""
    steps = np.arange(max(size_wh)) + 0.5
    return np.stack([np.minimum(steps, side - 0.5) for side in size_wh], axis=1)


def _gather(mask_hw: BoolArray, grid: FloatArray, size_wh: Size) -> BoolArray:
    """Look up a mask at the columns `grid[:, 0]` and rows `grid[:, 1]`; False outside it."""
    height, width = mask_hw.shape
    columns = np.floor(grid[: size_wh[0], 0]).astype(np.int64)
    rows = np.floor(grid[: size_wh[1], 1]).astype(np.int64)
    found = mask_hw[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    found[(rows < 0) | (rows >= height)] = False
    found[:, (columns < 0) | (columns >= width)] = False
    return found


def _wrong_size(what: str, got_wh: Size, wanted_wh: Size) -> RegionError:
    return RegionError(
        f"{what} is {got_wh[0]} wide x {got_wh[1]} high, "
        f"this transform is for {wanted_wh[0]} x {wanted_wh[1]}."
    )
