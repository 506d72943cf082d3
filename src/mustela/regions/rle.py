"""Run-length encoding of masks in the form of COCO.

Counts alternate between pixels outside and inside, down the columns, beginning outside. The compressed form
writes each count (from the fourth on: its difference to the count two before) in groups of five bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from mustela.errors import RegionError

Ends: TypeAlias = npt.NDArray[np.int64]
"""Where each run ends, in pixels down the columns; the first run is outside."""

Window: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""Columns and rows, each as a half-open range."""

_MOST_PIXELS = 2**32 - 1  # counts are of 32 bits
_MAX_GROUPS = 8  # 8 x 5 bits: more than any count of an image can need


def compress(mask: npt.NDArray[np.bool_]) -> bytes:
    """Return the compressed counts of an `(H, W)` bool array."""
    encoded = coco_mask.encode(np.asfortranarray(mask).view(np.uint8))
    return bytes(encoded["counts"])


def decompress(ends: Ends, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the `(H, W)` bool array, contiguous by rows."""
    height, width = size_hw
    return decompress_window(ends, height, ((0, width), (0, height)))


def decompress_window(ends: Ends, height: int, window: Window) -> npt.NDArray[np.bool_]:
    """Return the columns and rows of a window of what `decompress` returns, without the rest."""
    (left, right), (top, bottom) = window
    ends = np.minimum(np.maximum(ends, left * height), right * height)
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    lengths[0] -= left * height
    inside = np.zeros(len(ends), dtype=np.bool_)
    inside[1::2] = True
    pixels = np.repeat(inside, lengths).reshape(right - left, height)
    return np.ascontiguousarray(pixels[:, top:bottom].T)


def area(ends: Ends) -> int:
    """Return the number of pixels inside."""
    return int(_inside_lengths(ends).sum())


def bounds(ends: Ends, height: int) -> tuple[float, float, float, float] | None:
    """Return `(x1, y1, x2, y2)` of the pixels inside, or None if there are none."""
    stops = ends[1::2]
    starts = ends[: 2 * len(stops) : 2]
    starts, last = starts[stops > starts], stops[stops > starts] - 1
    if len(starts) == 0:
        return None
    (first_columns, tops), (last_columns, bottoms) = np.divmod(starts, height), np.divmod(last, height)
    # A run that goes on in the next column touches both borders.
    whole = (first_columns != last_columns).any()
    top, bottom = (0, height) if whole else (int(tops.min()), int(bottoms.max()) + 1)
    return float(first_columns[0]), float(top), float(last_columns[-1] + 1), float(bottom)


def holds(ends: Ends, pixel: int) -> bool:
    """Say whether a pixel, numbered down the columns, is inside."""
    return bool(np.searchsorted(ends, pixel, side="right") & 1)


def inside_pixels(masks: Sequence[Ends], ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return which pixels of masks the inside ones of `ranks (N, P)` are; both count down the columns."""
    stops = np.concatenate([ends[1::2] for ends in masks])
    lengths = [_inside_lengths(ends) for ends in masks]
    # As if the masks lay behind one another, so that one search finds the runs of all.
    seen = np.cumsum(np.concatenate(lengths))
    first = np.cumsum([0, *(of_one.sum() for of_one in lengths[:-1])])
    together = ranks + first[:, None]
    runs = np.searchsorted(seen, together, side="right")
    pixels: npt.NDArray[np.int64] = together - seen[runs] + stops[runs]
    return pixels


def _inside_lengths(ends: Ends) -> npt.NDArray[np.int64]:
    stops = ends[1::2]
    lengths: npt.NDArray[np.int64] = stops - ends[: 2 * len(stops) : 2]
    return lengths


def compress_counts(counts: Sequence[object], size_hw: tuple[int, int]) -> bytes:
    """Return the compressed form of a list of counts; a `RegionError` unless they fill the image exactly."""
    plain: list[int] = []
    for position, count in enumerate(counts):
        if isinstance(count, bool) or not isinstance(count, int | np.integer):
            raise RegionError(f"RLE count {position} is {count!r}. Counts are whole numbers.")
        plain.append(int(count))
    pixels = size_hw[0] * size_hw[1]
    if pixels > _MOST_PIXELS:
        raise RegionError(f"an RLE mask of {size_hw[1]} x {size_hw[0]} pixels is more than run lengths hold.")
    if max((abs(count) for count in plain), default=0) > pixels:
        raise RegionError(f"an RLE count is larger than the image of {pixels} pixels.")
    _check_sum(np.asarray(plain, dtype=np.int64), size_hw)
    encoded = coco_mask.frPyObjects({"size": list(size_hw), "counts": plain}, *size_hw)
    return bytes(encoded["counts"])


def read_rle(rle: Mapping[str, object]) -> tuple[tuple[int, int], bytes]:
    """Return `(size_hw, compressed counts)` of an RLE object whose counts are a str, bytes or a list.

    The input is never changed. Missing keys and sizes that aren't two whole numbers are a `RegionError`;
    whether compressed counts fill the image is for `run_ends` to say.
    """
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise RegionError(f"an RLE mask needs the keys 'size' and 'counts', got {_shorten(rle)}.")
    size_hw = _read_size(rle["size"])
    counts = rle["counts"]
    if isinstance(counts, str):
        try:
            packed = counts.encode("ascii")
        except UnicodeEncodeError:
            raise RegionError(f"RLE counts {_shorten(counts)} are not in COCO's compressed form.") from None
    elif isinstance(counts, bytes | bytearray):
        packed = bytes(counts)
    elif isinstance(counts, list | tuple | np.ndarray):
        return size_hw, compress_counts(list(counts), size_hw)
    else:
        raise RegionError(
            f"RLE counts are a {type(counts).__name__}. Use a string, bytes or a list of whole numbers."
        )
    return size_hw, packed


def run_ends(masks: Sequence[tuple[tuple[int, int], bytes]]) -> list[Ends]:
    """Return where each run of masks, `(size_hw, compressed counts)`, ends: in pixels down the columns.

    A character holds five bits, and a sixth that says whether the number goes on; the top bit of a number's
    last character is its sign. All masks are read together, as most of the time goes into single steps.

    Raises:
        RegionError: counts are malformed, or don't fill the image exactly.
    """
    packed = [counts for _, counts in masks]
    characters = np.array([len(counts) for counts in packed])
    values = np.frombuffer(b"".join(packed), dtype=np.uint8).astype(np.int64) - 48
    if len(masks) > 1 and not characters.all():
        return _one_by_one(masks)
    lasts = np.cumsum(characters) - 1
    if values.size == 0 or int(values.min()) < 0 or int(values.max()) > 63 or (values[lasts] & 32).any():
        return _one_by_one(masks, f"RLE counts {_shorten(packed[0])} are not in COCO's compressed form.")
    group_ends = np.flatnonzero((values & 32) == 0)
    group_starts = np.concatenate([[0], group_ends[:-1] + 1])
    lengths = group_ends - group_starts + 1
    if int(lengths.max()) > _MAX_GROUPS:
        problem = f"RLE counts {_shorten(packed[0])} hold a number that is too large for any image."
        return _one_by_one(masks, problem)
    place = np.arange(values.size) - np.repeat(group_starts, lengths)
    numbers: npt.NDArray[np.int64] = np.add.reduceat((values & 31) << (5 * place), group_starts)
    negative = (values[group_ends] & 16) != 0
    numbers = np.where(negative, numbers - (np.int64(1) << (5 * lengths)), numbers)
    found = []
    start = 0
    for (size_hw, _), stop in zip(masks, (np.searchsorted(group_ends, lasts) + 1).tolist(), strict=True):
        counts = numbers[start:stop]
        for differences in (counts[1::2], counts[2::2]):
            np.cumsum(differences, out=differences)
        _check_sum(counts, size_hw)
        ends = np.cumsum(counts)
        ends.setflags(write=False)
        found.append(ends)
        start = stop
    return found


def _one_by_one(masks: Sequence[tuple[tuple[int, int], bytes]], problem: str = "") -> list[Ends]:
    """Read masks alone, of which one is malformed, so that the error is about that one."""
    if len(masks) == 1:
        raise RegionError(problem)
    return [ends for mask in masks for ends in run_ends([mask])]


def _read_size(size: object) -> tuple[int, int]:
    if isinstance(size, list | tuple | np.ndarray) and len(size) == 2:
        height, width = size
        if all(
            isinstance(side, int | np.integer) and not isinstance(side, bool) and side >= 1 for side in size
        ):
            return int(height), int(width)
    raise RegionError(
        f"RLE size is {_shorten(size)}. It is [height, width], two whole numbers of at least 1."
    )


def _check_sum(counts: npt.NDArray[np.int64], size_hw: tuple[int, int]) -> None:
    if counts.size and int(counts.min()) < 0:
        raise RegionError("RLE counts hold a negative number.")
    total, wanted = int(counts.sum()), math.prod(size_hw)
    if total != wanted:
        raise RegionError(
            f"RLE counts add up to {total} pixels, but the mask's size [height, width] = "
            f"[{size_hw[0]}, {size_hw[1]}] has {wanted}."
        )


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
