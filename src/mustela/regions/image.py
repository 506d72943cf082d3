"""Opening images: any file becomes an upright RGB picture, or an error that names it."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import (
    ExifTags,
    Image,
    ImageOps,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from mustela.errors import ImageError
from mustela.regions.modes import to_rgb

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image

MAX_PIXELS = 89_478_485
"""Largest image that is read unless `max_pixels` says otherwise; the number is Pillow's own."""

WHITE = (255, 255, 255)

# What Pillow's plug-ins raise on damaged files, found by feeding them such files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_open_lock = Lock()
_PNG_METADATA = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})


class FirstFrameWarning(UserWarning):
    """Only the first frame of an image with several is used."""


def load_image(
    source: ImageSource,
    *,
    exif: bool = True,
    background: tuple[int, int, int] = WHITE,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
    quiet: bool = False,
) -> Image.Image:
    """Return an image as a new Pillow image of mode RGB, fully decoded.

    `source` is a path, the bytes of a file, or a Pillow image (which is not changed). The EXIF orientation is
    applied unless `exif` is False. Transparent pixels show `background`; 16-bit, float, palette, CMYK and all
    other modes are converted to the colours they mean. Of an animation the first frame is used, with a
    `FirstFrameWarning` unless `quiet`. A file that is missing, empty, damaged, no image, or has more than
    `max_pixels` pixels is an `ImageError` with its path (or `name`) and the reason.
    """
    label = _label(source, name)
    with _opened(source, label, max_pixels) as image:
        try:
            if not quiet and not isinstance(source, Image.Image):
                _warn_of_frames(image, label)
            image.load()
            upright = _upright(image) if exif else image
            if upright.mode == "RGB" and upright is not source and not upright.has_transparency_data:
                return upright
            return to_rgb(upright, background=background)
        except _DECODE_ERRORS as error:
            raise ImageError(f"{label}: damaged image ({_reason(error)}).") from error


def image_size(source: ImageSource, *, exif: bool = True, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return `(width, height)` as `load_image` would show it, reading no more than the file's header.

    A file that is missing, empty, no image or too large is an `ImageError`; damage behind the header isn't
    noticed.
    """
    label = _label(source, None)
    with _opened(source, label, max_pixels) as image:
        width, height = image.size
        if exif and _orientation_in_header(image) in (5, 6, 7, 8):
            return height, width
        return width, height


def load_with_alpha(
    source: ImageSource, *, exif: bool = True, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> tuple[Image.Image, npt.NDArray[np.bool_] | None]:
    """Return an image's colours, also those under transparent pixels, and where it is at least half opaque.

    The second is `(H, W)` bool, and None for an image without transparent pixels. Arguments and errors are
    those of `load_image`; of an animation the first frame is used.
    """
    label = _label(source, name)
    with _opened(source, label, max_pixels) as image:
        try:
            image.load()
            upright = _upright(image) if exif else image
            if not upright.has_transparency_data:
                return to_rgb(upright, background=WHITE), None
            straight = upright.convert("LA") if upright.mode == "La" else upright
            picture = straight.convert("RGBA")
            inside: npt.NDArray[np.bool_] = np.asarray(picture.getchannel("A")) > 127
            return picture.convert("RGB"), None if inside.all() else inside
        except _DECODE_ERRORS as error:
            raise ImageError(f"{label}: damaged image ({_reason(error)}).") from error


def read_mask(source: ImageSource, *, exif: bool = True) -> npt.NDArray[np.bool_]:
    """Return the `(H, W)` bool array of an image that shows a mask; `Mask.from_file` says what is inside."""
    label = _label(source, None)
    with _opened(source, label, MAX_PIXELS) as image:
        try:
            image.load()
            upright = _upright(image) if exif else image
            transparent = upright.has_transparency_data
            pixels = np.asarray(upright.convert("RGBA").getchannel("A") if transparent else upright)
        except _DECODE_ERRORS as error:
            raise ImageError(f"{label}: damaged image ({_reason(error)}).") from error
    if transparent:
        threshold = 127.0
    elif image.mode == "P":
        threshold = 0.0
    else:
        pixels = pixels.max(axis=2) if pixels.ndim == 3 else pixels
        threshold = max(float(pixels.max()), 0.0) / 2
    inside: npt.NDArray[np.bool_] = pixels.astype(np.float64) > threshold
    return inside


def _label(source: ImageSource, name: str | None) -> str:
    if name is not None:
        return name
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"{source.mode} image"
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"a picture is a path, the bytes of a file or a Pillow image, not {type(source).__name__}; an"
            " array becomes one by PIL.Image.fromarray."
        )
    path = os.fspath(source)
    if "\0" in path:
        raise ImageError(f"{path!r} is no path: it holds a zero byte.")
    return path


@contextmanager
def _opened(source: ImageSource, label: str, max_pixels: int) -> Iterator[Image.Image]:
    if isinstance(source, Image.Image):
        _check_size(source.size, label, max_pixels)
        yield source
        return
    stream: io.BytesIO | Path = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    try:
        image = _open(stream, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{label}: {error}. The limit is max_pixels = {max_pixels}.") from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"{label}: {_why_not_opened(stream, error)}") from error
    with image:
        _check_size(image.size, label, max_pixels)
        yield image


def _open(stream: io.BytesIO | Path, max_pixels: int) -> Image.Image:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or max_pixels <= limit:
        return Image.open(stream)
    # Pillow's limit is a global. It is lifted only for a caller who asked for more, while the header is read.
    with _open_lock:
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(size_wh: tuple[int, int], label: str, max_pixels: int) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise ImageError(f"{label}: the image has no pixels ({width} x {height}).")
    if width * height > max_pixels:
        raise ImageError(
            f"{label}: {width} x {height} = {width * height} pixels are more than max_pixels = {max_pixels}. "
            "Raise max_pixels if you trust the file."
        )


def _why_not_opened(stream: io.BytesIO | Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "image not found."
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image."
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)."
    start = b""
    if isinstance(stream, io.BytesIO):
        start = stream.getvalue()[:256]
    else:
        try:
            with stream.open("rb") as file:
                start = file.read(256)
        except OSError:
            return f"can't be read ({_reason(error)})."
    if not start:
        return "the file is empty (0 bytes)."
    if start.lstrip().startswith((b"<", b"\xef\xbb\xbf<")) and b"<svg" not in start:
        return "is a web page or XML text, not an image; a failed download?"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged image ({_reason(error)})."
    return f"not an image that Pillow can read; it starts with {start[:12]!r}."


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _warn_of_frames(image: Image.Image, label: str) -> None:
    if image.format == "MPO":  # a photo with its preview behind it
        return
    try:
        image.seek(1)
    except EOFError:
        return
    image.seek(0)
    warnings.warn(f"{label}: only the first of several frames is used.", FirstFrameWarning, stacklevel=3)


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1 to 8; 1 where there is none or it can't be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODE_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _orientation_in_header(image: Image.Image) -> int:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow turns TIFF files itself, and their size is the turned one from the start
    if isinstance(image, PngImagePlugin.PngImageFile) and not _PNG_METADATA & {*map(str, image.info)}:
        # Asking a PNG file for EXIF data it doesn't have would make Pillow decode all of it, and hardly any
        # has some.
        return _orientation(image) if _text_behind_pixels(image) else 1
    return _orientation(image)


def _text_behind_pixels(image: PngImagePlugin.PngImageFile) -> bool:
    """Say whether a PNG file has metadata behind its pixels, from the heads of its chunks."""
    stream = image.fp
    if stream is None:
        return False
    before = stream.tell()
    try:
        stream.seek(8)
        seen_pixels = False
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if seen_pixels and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            seen_pixels = seen_pixels or kind == b"IDAT"
            stream.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        stream.seek(before)
