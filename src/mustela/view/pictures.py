"""Pictures and regions for pages: small JPEGs inside the page, regions as SVG over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import markupsafe
import numpy as np
from PIL import Image

from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble
from mustela.regions.draw import PALETTE

COLORS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE]


def color(index: int) -> str:
    """Return the colour of the region with an index."""
    return COLORS[index % len(COLORS)]


def picture_address(image: Image.Image, *, max_side: int = 760) -> str:
    """Return a picture as a `data:` address, reduced to `max_side` pixels."""
    small = image.convert("RGB")
    small.thumbnail((max_side, max_side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def region_svg(region: Region, index: int, size_wh: tuple[int, int], *, mask: Mask | None = None) -> str:
    """Return SVG of a region, in pixels of its picture.

    A shape is drawn twice, a dark rim below, so that it shows on any background. An object's `mask` fills it.
    """
    side, ink = max(size_wh), color(index)
    inside = _mask(mask, ink) if mask is not None else ""
    match region:
        case Point(x, y):
            radius = 0.016 * side
            return f'{inside}<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{ink}"/>'
        case Box():
            x1, y1, x2, y2 = region.bounds_xyxy()
            shape = f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" rx="2"'
        case Polygon(rings):
            shape = f'<path fill-rule="evenodd" d="{" ".join(_path(ring) + "Z" for ring in rings)}"'
        case Scribble(points, width):
            path = _path(points)
            return (
                f'{inside}<path class="stroke" d="{path}" stroke="{ink}" stroke-width="{width:.1f}"/>'
                f'<path class="line" d="{path}" stroke="{ink}"/>'
            )
        case Mask():
            return _mask(region, ink)
    return (
        f'{inside}{shape} class="rim"/>{shape} class="line" stroke="{ink}" fill="{ink}" fill-opacity=".09"/>'
    )


def region_tag(region: Region, index: int, size_wh: tuple[int, int]) -> str:
    """Return SVG of a region's number, counted from 1, in its upper left corner and inside the picture."""
    x1, y1, _, _ = region.bounds_xyxy()
    height = 0.042 * max(size_wh)
    text = str(index + 1)
    width = height * (0.42 + 0.5 * len(text))
    x, y = min(max(x1, 0), size_wh[0] - width), min(max(y1, 0), size_wh[1] - height)
    return (
        f'<rect class="tag" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{height / 5:.1f}" fill="{color(index)}"/>'
        f'<text class="tag" x="{x + width / 2:.1f}" y="{y + 0.76 * height:.1f}"'
        f' font-size="{0.74 * height:.1f}">{text}</text>'
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _mask(mask: Mask, ink: str) -> str:
    height, width = mask.size_hw
    pixels = mask.raster((width, height))
    rgb = np.array([int(ink[place : place + 2], 16) for place in (1, 3, 5)], dtype=np.uint8)
    rgba = np.zeros((height, width, 4), dtype=np.uint8)
    rgba[pixels, :3] = rgb
    rgba[pixels, 3] = 120
    file = io.BytesIO()
    picture = Image.fromarray(rgba)
    picture.thumbnail((760, 760), Image.Resampling.NEAREST)
    picture.save(file, "PNG", optimize=True)
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return f'<image href="{address}" width="{width}" height="{height}" preserveAspectRatio="none"/>'


def safe(svg: str) -> markupsafe.Markup:
    """Mark markup that was made here, of numbers and colours only, as not to be escaped."""
    return markupsafe.Markup(svg)
