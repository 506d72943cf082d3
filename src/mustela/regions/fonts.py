"""Fonts for labels: Pillow's own, or one of the system's for letters that it lacks."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Looked for in the system's font folders, the widest in use first; most machines have one or two of them.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
)
_NO_CHARACTER = "\U0010ffff"  # no font has a glyph for it, so it shows the box of missing ones


def font_for(text: str, size: int) -> tuple[Font, str]:
    """Return a font of `size` pixels and the text to draw with it, with `?` for letters that no font has."""
    best, lacking = _default(size), _missing(_default(size), text)
    if lacking:
        for name in _SYSTEM_FONTS:
            font = _system(name, size)
            if font is None:
                continue
            still = _missing(font, text)
            if len(still) < len(lacking):
                best, lacking = font, still
            if not lacking:
                break
    return best, "".join("?" if character in lacking else character for character in text)


@lru_cache(maxsize=32)
def _default(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=128)
def _system(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _missing(font: Font, text: str) -> frozenset[str]:
    """Return the letters of a text that a font has no glyph for."""
    if isinstance(font, ImageFont.ImageFont):  # the bitmap font of a Pillow without FreeType: Latin-1 only
        return frozenset(character for character in text if ord(character) > 255)
    return frozenset(
        character
        for character in set(text)
        if not character.isascii() and not character.isspace() and not _has_glyph(font, character)
    )


@lru_cache(maxsize=4096)
def _has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))
