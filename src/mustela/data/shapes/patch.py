"""Patches: the pixels of an object within its box, and what marks on them start from, found once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mustela.data.shapes.contours import Ring, trace_outline
from mustela.data.shapes.outlines import BoolArray, FloatArray

_DEPTH = 4


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels `mask` (H, W), at least one of them inside."""

    mask: BoolArray

    @cached_property
    def middle(self) -> npt.NDArray[np.int64]:
        """The pixels (N, 2), x and y, that lie four pixels inside the edge where it is thick enough."""
        inner = self.mask
        for _ in range(_DEPTH):
            shrunk = shrink(inner)
            if not shrunk.any():
                break
            inner = shrunk
        return _pixels(inner)

    @cached_property
    def inner(self) -> BoolArray:
        """The pixels (H, W) that don't touch the edge; all of them where there are none."""
        shrunk = shrink(self.mask)
        return shrunk if shrunk.any() else self.mask

    @cached_property
    def inner_centres(self) -> FloatArray:
        """The centres (N, 2) of the `inner` pixels."""
        centres: FloatArray = _pixels(self.inner) + np.float64(0.5)
        return centres

    @cached_property
    def outline(self) -> list[Ring]:
        """Its outline, as `trace_outline` draws it."""
        return trace_outline(self.mask)


def shrink(mask: BoolArray) -> BoolArray:
    """The pixels of a mask (H, W) whose four neighbours are in the mask as well."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner


def _pixels(mask: BoolArray) -> npt.NDArray[np.int64]:
    return np.argwhere(mask)[:, ::-1]
