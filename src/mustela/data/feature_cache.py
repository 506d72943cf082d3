"""Features of pictures on disk, for a vision tower that doesn't change.

A part is two files: numbers of half precision, one picture after the other, and an index with an entry for
each. Numbers are written before their entry, and the entry holds their checksum: what a kill or a full disk
leaves half written is no entry or one that is not believed. Every writer makes a part of its own, so that any
number of processes write and read at once.

Shape legend: H rows, W columns and C channels of a picture's map.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mustela.errors import ConfigError
from mustela.regions import Size

logger = logging.getLogger(__name__)

_NUMBERS, _INDEX = ".features", ".index"
_ENTRY = np.dtype([("key", "V32"), ("width", "<u4"), ("height", "<u4"), ("check", "<u4")])
_LARGEST = float(torch.finfo(torch.float16).max)
Shape = tuple[int, int, int]


def picture_key(content: bytes) -> bytes:
    """Return what a picture is known by, 32 bytes made from those of its file."""
    return hashlib.sha256(content).digest()


def half(features: Tensor) -> Tensor:
    """Return features in the precision in which they are kept: float16, relative error at most 2 ** -11.

    Larger numbers than float16 has become its largest.
    """
    return features.float().clamp(-_LARGEST, _LARGEST).half()


class FeatureReader:
    """Finds the features of pictures that some process has written.

    Args:
        folder: of one tower and one way of fitting pictures; it needn't exist yet.
        shape_hwc: of every map.
    """

    def __init__(self, folder: Path, shape_hwc: Shape) -> None:
        self.folder = folder
        self.shape_hwc = shape_hwc
        # A picture may be kept several times, and some of its places be damaged.
        self._places: dict[bytes, list[tuple[Path, int, np.void]]] = {}
        self._read: dict[Path, int] = {}
        self._maps: dict[Path, npt.NDArray[np.float16]] = {}

    def __reduce__(self) -> tuple[type[FeatureReader], tuple[Path, Shape]]:
        return FeatureReader, (self.folder, self.shape_hwc)

    def get(self, key: bytes) -> tuple[Tensor, Size] | None:
        """Return a picture's features `(H, W, C)` float16 and its size; None where they aren't kept."""
        if not self._places.get(key):
            self._look()
        places = self._places.get(key, [])
        while places:
            path, number, entry = places[-1]
            found = self._map(path, number)
            if found is not None and zlib.crc32(found.tobytes()) == int(entry["check"]):
                return torch.from_numpy(found.copy()), (int(entry["width"]), int(entry["height"]))
            places.pop()
        return None

    def _look(self) -> None:
        """Read the entries that have come since the last look."""
        for path in sorted(self.folder.glob(f"*{_INDEX}")):
            done = self._read.get(path, 0)
            count = path.stat().st_size // _ENTRY.itemsize
            if count <= done:
                continue
            entries = np.fromfile(path, _ENTRY, count=count - done, offset=done * _ENTRY.itemsize)
            for number, entry in enumerate(entries, start=done):
                place = path.with_suffix(_NUMBERS), number, entry
                self._places.setdefault(entry["key"].tobytes(), []).append(place)
            self._read[path] = count

    def _map(self, path: Path, number: int) -> npt.NDArray[np.float16] | None:
        mapped = self._maps.get(path)
        if mapped is None or number >= len(mapped):
            size = int(np.prod(self.shape_hwc))
            count = path.stat().st_size // (2 * size) if path.exists() else 0
            if number >= count:
                return None
            mapped = np.memmap(path, np.float16, mode="r", shape=(count, *self.shape_hwc))
            self._maps[path] = mapped
        found: npt.NDArray[np.float16] = mapped[number]
        return found


class FeatureWriter:
    """Writes features until a limit is reached; those of further pictures are not kept.

    Nothing is ever thrown out for something newer: epochs come round, and what is used longest ago is next.

    Args:
        folder: as of the reader.
        root: the folder whose files the limit counts.
        max_bytes: of all files below `root`.
        writers: processes that share what is left of it.

    Raises:
        ConfigError: the folder can't be written.
    """

    def __init__(self, folder: Path, *, root: Path, max_bytes: int, writers: int = 1) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            used = sum(each.stat().st_size for each in root.glob(f"*/*{_NUMBERS}"))
        except OSError as error:
            raise ConfigError(
                f"cache_vision_features {root}: can't keep features there: {error.strerror or error}."
            ) from error
        self._left = (max_bytes - used) // writers
        self._folder = folder
        self._known: set[bytes] = set()
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self._is_open = True

    def put(self, key: bytes, features: Tensor, size_wh: Size) -> None:
        """Keep a picture's features, float16; numbers that aren't finite are not kept."""
        if not self._is_open or key in self._known or not bool(features.isfinite().all()):
            return
        content = features.contiguous().cpu().numpy().tobytes()
        if len(content) > self._left:
            self._stop("the limit of cache_vision_features_gb is reached")
            return
        entry = np.array([(key, *size_wh, zlib.crc32(content))], _ENTRY)
        try:
            if self._files is None:
                name = self._folder / uuid.uuid4().hex
                self._files = name.with_suffix(_NUMBERS).open("xb"), name.with_suffix(_INDEX).open("xb")
            for file, part in zip(self._files, (content, entry.tobytes()), strict=True):
                file.write(part)
                file.flush()
        except OSError as error:
            self._stop(str(error.strerror or error))
            return
        self._left -= len(content)
        self._known.add(key)

    def close(self) -> None:
        """Close the files; nothing is kept afterwards."""
        self._is_open = False
        for file in self._files or ():
            file.close()

    def _stop(self, reason: str) -> None:
        self.close()
        logger.warning(
            "%s: no more features are kept (%s). Those of other pictures are made each time.",
            self._folder,
            reason,
        )
