"""Turning every mode of Pillow into RGB without losing what the image means."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms


def to_rgb(image: Image.Image, *, background: tuple[int, int, int]) -> Image.Image:
    """Return a new RGB image of a decoded image of any mode.

    Transparent pixels, also those of palettes and colour keys, show the `background`. Grey levels of 16 bits
    are scaled to 8; so are levels of 32 bits (`I`, `F`), by the smallest of 1, 255, 65535 and 2^31 - 1 that
    holds them.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_levels(image)
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        picture = straight.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (*background, 255))
        return Image.alpha_composite(canvas, picture).convert("RGB")
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode == "RGB":
        return image.copy()
    return image.convert("RGB")


def _scale_levels(image: Image.Image) -> Image.Image:
    levels = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(levels.max(initial=0.0))
    if image.mode.startswith("I;16"):
        full = 65535.0
    elif image.mode == "I":
        # Sixteen-bit files that Pillow opens as 32 bits, and true 32-bit ones.
        full = 65535.0 if largest <= 65535 else 2.0**31 - 1
    else:
        full = next((limit for limit in (1.0, 255.0, 65535.0) if largest <= limit), max(largest, 2.0**31 - 1))
    grey = np.rint(np.clip(levels / full, 0.0, 1.0) * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return image.convert("L").convert("RGB") if converted is None else converted
