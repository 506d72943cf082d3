"""Where the image tokens of Molmo 2 lie: patches of overlapping crops, pooled on one canvas."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PooledCanvas:
    """The grid of pooled patches of a picture's canvas; at its borders some pool less than others.

    Attributes:
        patches_wh: columns and rows of patches on the canvas.
        window: left, top, right and bottom of the pooled grid, in 0..1 of the canvas.
    """

    patches_wh: tuple[int, int]
    window: tuple[float, float, float, float]


def pooled_canvas(pooling: Tensor, grid_hw: tuple[int, int]) -> PooledCanvas:
    """Read the canvas off the patches that each token pools.

    Args:
        pooling: `(H * W, side * side)` numbers of patches, -1 where there is none.
        grid_hw: rows H and columns W of tokens.
    """
    height, width = grid_hw
    side = int(pooling.shape[1] ** 0.5)
    there = (pooling >= 0).view(height, width, side, side).transpose(1, 2).flatten(0, 1).flatten(1, 2)
    rows, columns = there.any(1), there.any(0)
    down, across = int(rows.sum()), int(columns.sum())
    top, left = int(rows.int().argmax()), int(columns.int().argmax())
    return PooledCanvas(
        (across, down),
        (-left / across, -top / down, (width * side - left) / across, (height * side - top) / down),
    )
