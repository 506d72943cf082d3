"""The pictures of requests: from where a client says they are to what the model sees, each encoded once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import numpy.typing as npt

from mustela.data.pictures import PreparedImage
from mustela.data.processor import MustelaProcessor
from mustela.errors import ImageError
from mustela.model import ImageFeatures
from mustela.regions.image import load_image, load_with_alpha
from mustela.serve.errors import ApiError, refused
from mustela.serve.fetching import Fetcher
from mustela.serve.limits import Limits

__all__ = ["Picture", "PictureCache", "read_picture"]

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w.+=-]+)*;base64,", re.ASCII | re.IGNORECASE)


@dataclass
class Picture:
    """A picture of a request.

    Attributes:
        prepared: what the processor made of it.
        alpha: `(H, W)` bool, where it is opaque, if it was read for a mask and has transparent pixels.
        features: what the model made of it; None until it has been encoded.
    """

    prepared: PreparedImage
    alpha: npt.NDArray[np.bool_] | None = None
    features: ImageFeatures | None = None

    def take(self, features: ImageFeatures, *, keep: Collection[str]) -> None:
        """Remember what the model made of it, and let go of the pixels; `keep` names inputs still needed."""
        inputs = {name: value for name, value in self.prepared.inputs.items() if name in keep}
        # In this order: who finds features doesn't look for pixels.
        self.features = features
        self.prepared = replace(self.prepared, inputs=inputs)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels, after EXIF rotation."""
        return self.prepared.size_wh

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        features = 0 if self.features is None else self.features.nbytes
        alpha = 0 if self.alpha is None else self.alpha.nbytes
        return features + alpha + sum(tensor.nbytes for tensor in self.prepared.inputs.values())


class PictureCache:
    """The pictures that were asked about last, by their bytes; safe for several threads.

    Args:
        images: how many are kept.
        nbytes: how much memory they may take.
    """

    def __init__(self, images: int, nbytes: int) -> None:
        self._images = images
        self._nbytes = nbytes
        self._pictures: OrderedDict[tuple[bytes, bool], Picture] = OrderedDict()
        self._lock = Lock()
        self.hits = 0
        self.misses = 0

    def get(self, key: tuple[bytes, bool]) -> Picture | None:
        """Return a picture and remember that it was wanted."""
        with self._lock:
            picture = self._pictures.get(key)
            if picture is None:
                self.misses += 1
                return None
            self.hits += 1
            self._pictures.move_to_end(key)
            return picture

    def put(self, key: tuple[bytes, bool], picture: Picture) -> Picture:
        """Keep a picture; the one that another thread has put there first is the one to use."""
        with self._lock:
            picture = self._pictures.setdefault(key, picture)
            self._pictures.move_to_end(key)
        self.shrink()
        return picture

    def shrink(self) -> None:
        """Let go of the pictures that were not wanted for longest, down to the bounds."""
        with self._lock:
            total = sum(picture.nbytes for picture in self._pictures.values())
            while self._pictures and (len(self._pictures) > self._images or total > self._nbytes):
                _, oldest = self._pictures.popitem(last=False)
                total -= oldest.nbytes

    @property
    def nbytes(self) -> int:
        """Memory that the pictures take, in bytes."""
        with self._lock:
            return sum(picture.nbytes for picture in self._pictures.values())

    def __len__(self) -> int:
        return len(self._pictures)


def read_picture(
    url: str,
    *,
    processor: MustelaProcessor,
    cache: PictureCache,
    fetcher: Fetcher,
    limits: Limits,
    as_mask: bool,
) -> Picture:
    """Return the picture at an address of a request.

    Args:
        url: `data:` with base64, or what the fetcher may fetch.
        processor: prepares it for the model.
        cache: of pictures that were seen before.
        fetcher: gets addresses that are allowed.
        limits: of bytes and pixels.
        as_mask: read the alpha channel as a mask; the colours under it count then.

    Raises:
        ApiError: it may not be fetched, or is no picture within the limits.
    """
    content = _from_data_url(url, limits) if url[:5].lower() == "data:" else fetcher.fetch(url)
    if len(content) > limits.image_bytes:
        raise too_large(limits)
    key = (hashlib.sha256(content).digest(), as_mask)
    known = cache.get(key)
    if known is not None:
        return known
    alpha = None
    try:
        if as_mask:
            image, alpha = load_with_alpha(content, max_pixels=limits.image_pixels, name="the picture")
        else:
            image = load_image(content, max_pixels=limits.image_pixels, name="the picture", quiet=True)
    except ImageError as error:
        raise refused(_without_bytes(str(error)), code="invalid_image", param="messages") from error
    return cache.put(key, Picture(processor.prepare_image(image), alpha))


def too_large(limits: Limits) -> ApiError:
    """The error of a picture whose file is too large."""
    return ApiError(
        413,
        f"a picture has more than {limits.image_bytes} bytes; send a smaller one.",
        code="image_too_large",
        param="messages",
    )


def _from_data_url(url: str, limits: Limits) -> bytes:
    match = _DATA_URL.match(url)
    if match is None:
        raise refused(
            "a picture's data URL is not of the form data:image/png;base64,...",
            code="invalid_image",
            param="messages",
        )
    encoded = url[match.end() :]
    if len(encoded) * 3 // 4 > limits.image_bytes + 3:
        raise too_large(limits)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused(
            "a picture's data URL holds no valid base64.", code="invalid_image", param="messages"
        ) from error


def _without_bytes(message: str) -> str:
    """Leave out what a file that is no picture begins with: it may be none of the client's business."""
    return message.split("; it starts with", 1)[0].rstrip(".") + "."
