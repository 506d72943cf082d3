"""Painting: backgrounds, and single shapes with soft edges."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mustela.data.shapes.outlines import FloatArray, Rings
from mustela.data.shapes.world import Rgb

_SUPERSAMPLING = 4
_BACKGROUND_KINDS = ("plain", "gradient", "stripes", "blobs", "noise", "plain", "gradient")


def paint_background(rng: np.random.Generator, *, size_wh: tuple[int, int], rgb: Rgb) -> FloatArray:
    """A quiet backdrop round one colour (plain, gradient, stripes, blobs, grain): float (H, W, 3), 0..255."""
    width, height = size_wh
    kind = _BACKGROUND_KINDS[rng.integers(len(_BACKGROUND_KINDS))]
    base = np.array(rgb, dtype=np.float64)
    other = base + rng.uniform(-20.0, 20.0, 3)
    x = np.arange(width)[None, :]
    y = np.arange(height)[:, None]
    turn = rng.uniform(0.0, math.tau)
    along = math.cos(turn) * x + math.sin(turn) * y
    if kind == "gradient":
        mix = (along - along.min()) / max(float(np.ptp(along)), 1.0)
    elif kind == "stripes":
        mix = 0.5 * (1.0 + np.tanh(4.0 * np.sin(along * math.tau / rng.uniform(9.0, 34.0))))
    elif kind == "blobs":
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
        mix = np.asarray(coarse.resize(size_wh, Image.Resampling.BICUBIC), dtype=np.float64) / 255.0
    else:
        mix = np.zeros((height, width))
    picture: FloatArray = base + mix[:, :, None] * (other - base)
    if kind == "noise" or rng.random() < 0.3:
        grain = rng.standard_normal((height, width)) * rng.uniform(2.0, 9.0)
        picture += grain[:, :, None]
    return picture


def shape_alpha(
    rings: Rings, *, centre_xy: tuple[float, float], radius: float, turn: float, size_wh: tuple[int, int]
) -> tuple[tuple[int, int], FloatArray, FloatArray] | None:
    """Coverage of a shape and of its border, 0..1, on the smallest patch of the picture that holds it.

    `turn` is in radians. Returns ((left, top), fill (h, w), border (h, w)), or None where nothing is inside.
    """
    cos, sin = math.cos(turn), math.sin(turn)
    rotation = np.array([[cos, sin], [-sin, cos]])
    corners = [ring @ rotation * radius + np.array(centre_xy) for ring in rings]
    left = max(0, math.floor(float(corners[0][:, 0].min())) - 1)
    top = max(0, math.floor(float(corners[0][:, 1].min())) - 1)
    right = min(size_wh[0], math.ceil(float(corners[0][:, 0].max())) + 1)
    bottom = min(size_wh[1], math.ceil(float(corners[0][:, 1].max())) + 1)
    if right <= left or bottom <= top:
        return None
    patch = ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING)
    fill = Image.new("L", patch)
    border = Image.new("L", patch)
    pen, edge = ImageDraw.Draw(fill), ImageDraw.Draw(border)
    thickness = max(2, round(_SUPERSAMPLING * (1.2 + 0.035 * radius)))
    for number, ring in enumerate(corners):
        # Pillow's pixel i is the sample at i + 0.5: shift by half a sample to stay centred.
        placed = ((ring - (left, top)) * _SUPERSAMPLING - 0.5).ravel().tolist()
        pen.polygon(placed, fill=255 if number == 0 else 0)
        edge.line([*placed, *placed[:4]], fill=255, width=thickness)
    return (
        (left, top),
        np.asarray(fill.reduce(_SUPERSAMPLING), dtype=np.float64) / 255.0,
        np.asarray(border.reduce(_SUPERSAMPLING), dtype=np.float64) / 255.0,
    )


def blend(
    picture: FloatArray,
    *,
    corner_xy: tuple[int, int],
    fill: FloatArray,
    border: FloatArray,
    rgb: npt.ArrayLike,
    border_rgb: npt.ArrayLike,
) -> None:
    """Paint a patch over `picture` (H, W, 3) in place: `rgb` inside, `border_rgb` along the outline."""
    left, top = corner_xy
    height, width = fill.shape
    target = picture[top : top + height, left : left + width]
    ink = np.asarray(rgb, dtype=np.float64)
    line = np.asarray(border_rgb, dtype=np.float64)
    paint = ink + border[:, :, None] * (line - ink)
    target += fill[:, :, None] * (paint - target)
