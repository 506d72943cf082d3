"""Pictures that lie inside data files."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageOps

from mustela.errors import RecordError

# Pillow has these for what is no picture, cut off, damaged or a decompression bomb.
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def keep_picture(value: Any, name: str, pictures: dict[str, bytes]) -> str:
    """Return the path of a picture; one that is inside goes to `pictures` under a path made of `name`.

    Raises:
        RecordError: neither a path nor a picture.
    """
    if isinstance(value, Mapping):
        content, path = value.get("bytes"), value.get("path")
        if content is None:
            value = path
        else:
            value, name = content, str(path or name)
    if isinstance(value, bytes):
        path = safe_name(name, value)
        pictures[path] = value
        return path
    if isinstance(value, str) and value:
        return value
    raise RecordError(f"the image is a {type(value).__name__}, not a path or a picture")


def size_of(content: bytes) -> tuple[int, int]:
    """Return (width, height) of a picture as shown.

    Raises:
        RecordError: it is broken, or so large that Pillow refuses it.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            shown = ImageOps.exif_transpose(image)
            return shown.size
    except _BROKEN as error:
        raise RecordError(
            f"the picture inside the file is broken: {error}. Replace it or remove it"
        ) from error


def safe_name(name: str, content: bytes) -> str:
    """Return a file name of plain characters; the content's own kind is its suffix."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = (image.format or "png").lower()
    except _BROKEN as error:
        raise RecordError(f"the picture {name!r} inside the file is broken: {error}") from error
    stem = re.sub(r"\.\w{2,4}$", "", name.rsplit("/", 1)[-1])
    plain = re.sub(r"[^\w.-]+", "_", stem).lstrip(".")
    # Two shards may use one name for two pictures.
    mark = hashlib.sha256(content).hexdigest()[:8]
    return f"{plain or 'picture'}-{mark}.{'jpg' if kind == 'jpeg' else kind}"
