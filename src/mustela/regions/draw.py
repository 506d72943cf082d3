"""Drawing regions and their labels on a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

from mustela.errors import CountMismatchError, RegionError
from mustela.regions.labels import Colour, Label, draw_labels
from mustela.regions.mask import Mask
from mustela.regions.modes import to_rgb
from mustela.regions.types import Box, Point, Polygon, Region, Scribble

XYXY: TypeAlias = tuple[float, float, float, float]

PALETTE: tuple[Colour, ...] = (
    (255, 69, 58),
    (10, 132, 255),
    (48, 209, 88),
    (255, 159, 10),
    (191, 90, 242),
    (0, 199, 190),
    (255, 214, 10),
    (255, 55, 135),
    (163, 230, 53),
    (172, 142, 104),
)
"""Colours of regions whose colour isn't given, in turn."""

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_FILL = {Box: 0.08, Scribble: 0.4, Polygon: 0.3, Mask: 0.4}
_RIM = 0.75


def draw_regions(
    image: Image.Image,
    regions: Sequence[Region],
    *,
    labels: Sequence[str] | None = None,
    colors: Sequence[str | Colour] | None = None,
    min_side: int = 320,
) -> Image.Image:
    """Return a new RGB picture with regions of all kinds and their labels drawn on it.

    Regions are in pixels of `image`, which is not changed. Lines, points and letters grow with the picture,
    and a picture whose longer side is below `min_side` pixels is enlarged by a whole factor first, because
    nothing is legible on 40 pixels; `min_side=0` keeps every size. Lines have a dark rim, so that they show
    on any background. `labels` are one a region, `""` for none; `colors` names (as in CSS), `#rrggbb` or RGB
    triples, one a region, else `PALETTE` in turn. Counts that differ are a `CountMismatchError`; a mask of
    another size than the image is a `RegionError`. Parts outside the picture are not drawn.
    """
    for what, given in (("labels", labels), ("colors", colors)):
        if given is not None and len(given) != len(regions):
            raise CountMismatchError(f"{len(given)} {what} for {len(regions)} regions; give one a region.")
    colours = (
        list(islice(cycle(PALETTE), len(regions))) if colors is None else [_colour(name) for name in colors]
    )
    picture = to_rgb(image, background=_WHITE)
    factor = max(1, math.ceil(min_side / max(picture.size)))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    # Very long pictures are read at their short side's scale.
    side = min(max(picture.size), 3 * min(picture.size))
    pen = _Pen(factor, image.size, line=max(2, round(side / 260)), casing=max(1, round(side / 640)))
    outlines = []
    for region, colour in zip(regions, colours, strict=True):
        outlines.append(_draw_region(picture, region, colour, pen))
    if labels is not None:
        signs = [Label(*parts) for parts in zip(labels, colours, outlines, strict=True)]
        draw_labels(picture, signs, font_size=max(13, round(side / 34)))
    return picture


@dataclass(frozen=True)
class _Pen:
    """Sizes, in pixels of the drawn picture, that are `factor` times those of the image."""

    factor: int
    image_wh: tuple[int, int]
    line: int
    casing: int

    @property
    def dot(self) -> float:
        return 2.6 * self.line


@dataclass(frozen=True)
class _Window:
    """The part of the picture that a region touches, drawn `smooth` times as fine and reduced afterwards."""

    left: int
    top: int
    width: int
    height: int
    smooth: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width * self.smooth, self.height * self.smooth

    def to_canvas(self, x: float, y: float) -> tuple[float, float]:
        """Place a continuous picture coordinate on the canvas, where Pillow counts pixel centres from 0."""
        return (x - self.left) * self.smooth - 0.5, (y - self.top) * self.smooth - 0.5


def _draw_region(picture: Image.Image, region: Region, colour: Colour, pen: _Pen) -> XYXY:
    """Draw one region and return the box round it on the picture, clipped."""
    bounds = _bounds(region, pen)
    outline: XYXY = (
        min(max(bounds[0], 0.0), picture.width),
        min(max(bounds[1], 0.0), picture.height),
        min(max(bounds[2], 0.0), picture.width),
        min(max(bounds[3], 0.0), picture.height),
    )
    window = _window(bounds, picture.size, margin=pen.line + pen.casing + 2)
    if window is None:
        return outline
    if isinstance(region, Mask):
        layers = _mask_layers(region, colour, window, pen)
    elif isinstance(region, Point):
        layers = _point_layers(region, colour, window, pen)
    else:
        layers = _line_layers(region, colour, window, pen)
    for layer, ink, strength in layers:
        reduced = layer.reduce(window.smooth) if window.smooth > 1 else layer
        if strength < 1:
            reduced = reduced.point([round(level * strength) for level in range(256)])
        picture.paste(ink, (window.left, window.top), reduced)
    return outline


def _bounds(region: Region, pen: _Pen) -> XYXY:
    if isinstance(region, Mask):
        region.check_size(pen.image_wh)
        if region.area(pen.image_wh) == 0:
            return 0.0, 0.0, 0.0, 0.0
    x1, y1, x2, y2 = (value * pen.factor for value in region.bounds_xyxy())
    grow = pen.dot + pen.casing if isinstance(region, Point) else 0.0
    return x1 - grow, y1 - grow, x2 + grow, y2 + grow


def _window(bounds: XYXY, picture_wh: tuple[int, int], *, margin: int) -> _Window | None:
    left, top = max(0, math.floor(bounds[0]) - margin), max(0, math.floor(bounds[1]) - margin)
    right = min(picture_wh[0], math.ceil(bounds[2]) + margin)
    bottom = min(picture_wh[1], math.ceil(bounds[3]) + margin)
    if left >= right or top >= bottom:
        return None
    pixels = (right - left) * (bottom - top)
    smooth = 4 if pixels < 1_000_000 else 2 if pixels < 4_000_000 else 1
    return _Window(left, top, right - left, bottom - top, smooth)


Layers: TypeAlias = list[tuple[Image.Image, Colour, float]]
"""What to paste, from the lowest to the topmost: a canvas of mode L, its colour and its opacity."""


def _point_layers(region: Point, colour: Colour, window: _Window, pen: _Pen) -> Layers:
    centre = window.to_canvas(region.x * pen.factor, region.y * pen.factor)
    layers: Layers = []
    # The white ring tells a point from a blob of the picture.
    for radius, ink in ((pen.dot + pen.casing, _BLACK), (pen.dot, _WHITE), (pen.dot * 0.72, colour)):
        layers.append((Image.new("L", window.size, 0), ink, 1.0))
        _disc(layers[-1][0], centre, radius * window.smooth)
    return layers


def _line_layers(region: Box | Scribble | Polygon, colour: Colour, window: _Window, pen: _Pen) -> Layers:
    fill, rim, line = (Image.new("L", window.size, 0) for _ in range(3))
    layers: Layers = [(fill, colour, _FILL[type(region)]), (rim, _BLACK, _RIM), (line, colour, 1.0)]
    thin, thick = pen.line * window.smooth, (pen.line + 2 * pen.casing) * window.smooth
    if isinstance(region, Scribble):
        path = _path(region.points, window, pen)
        _stroke(fill, path, region.width * pen.factor * window.smooth)
        _stroke(rim, path, thick)
        _stroke(line, path, thin)
        return layers
    rings = region.rings if isinstance(region, Polygon) else [_corners(region)]
    for ring in rings:
        path = _path(ring, window, pen)
        one = Image.new("L", window.size, 0)
        ImageDraw.Draw(one).polygon(path, fill=255)
        fill = ImageChops.difference(fill, one)  # even-odd
        closed = [*path, path[0], path[1]]
        _stroke(rim, closed, thick)
        _stroke(line, closed, thin)
    layers[0] = (fill, colour, _FILL[type(region)])
    return layers


def _mask_layers(region: Mask, colour: Colour, window: _Window, pen: _Pen) -> Layers:
    """Fill a mask; its line runs along the outside of its border."""
    raster = region.raster(pen.image_wh)
    whole = Image.fromarray(raster.astype(np.uint8) * 255)
    scale = pen.factor
    box = (
        window.left / scale,
        window.top / scale,
        (window.left + window.width) / scale,
        (window.top + window.height) / scale,
    )
    fill = whole.resize(window.size, Image.Resampling.BICUBIC, box=box)
    if scale > 1:
        # Rounds the steps of enlarged pixels; a wider blur would wipe out single ones.
        fill = fill.filter(ImageFilter.GaussianBlur(0.4 * scale * window.smooth))
    fill = fill.point(_STEP)
    line = _widened(fill, pen.line * 0.75 * window.smooth)
    rim = _widened(fill, (pen.line * 0.75 + pen.casing) * window.smooth)
    return [
        (fill, colour, _FILL[Mask]),
        (ImageChops.subtract(rim, fill), _BLACK, _RIM),
        (ImageChops.subtract(line, fill), colour, 1.0),
    ]


_STEP = [0 if level < 128 else 255 for level in range(256)]
# A blurred edge falls below this a good blur radius away from the shape.
_FOOT = [0 if level < 6 else 255 for level in range(256)]


def _widened(shape: Image.Image, by: float) -> Image.Image:
    return shape.filter(ImageFilter.GaussianBlur(by / 2)).point(_FOOT)


def _path(points: Sequence[tuple[float, float]], window: _Window, pen: _Pen) -> list[tuple[float, float]]:
    return [window.to_canvas(x * pen.factor, y * pen.factor) for x, y in points]


def _corners(box: Box) -> tuple[tuple[float, float], ...]:
    return (box.x1, box.y1), (box.x2, box.y1), (box.x2, box.y2), (box.x1, box.y2)


def _stroke(layer: Image.Image, path: Sequence[tuple[float, float]], width: float) -> None:
    draw = ImageDraw.Draw(layer)
    if len(path) > 1:
        draw.line(path, fill=255, width=max(1, round(width)), joint="curve")
    for end in (path[0], path[-1]):
        _disc(layer, end, width / 2)


def _disc(layer: Image.Image, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    ImageDraw.Draw(layer).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def _colour(name: str | Colour) -> Colour:
    if not isinstance(name, str):
        red, green, blue = name
        return red, green, blue
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise RegionError(f"colour {name!r} is neither a name nor #rrggbb.") from error
