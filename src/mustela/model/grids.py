"""Feature grids of images and reading them at points.

Shape legend: N images, S cells of all grids together, C channels, R regions, P points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mustela.model.configuration import SamplingGeometry


@dataclass(frozen=True)
class FeatureGrids:
    """Feature grids of N images, of any sizes, in one table.

    Attributes:
        table: `(S, C)` cells in row-major order, one image after the other.
        start: `(N,)` row of the table where an image begins.
        size_hw: `(N, 2)` rows and columns of each grid.
        window: `(N, 4)` float32: left, top, right and bottom, in 0..1 of the encoded picture, of what each
            grid covers; None: all of it. It may reach beyond the encoded picture.
    """

    table: Tensor
    start: Tensor
    size_hw: Tensor
    window: Tensor | None = None

    @classmethod
    def from_list(cls, grids_HWC: Sequence[Tensor]) -> FeatureGrids:
        """Join grids `(H, W, C)`, one an image."""
        device = grids_HWC[0].device
        size_hw = torch.tensor([grid.shape[:2] for grid in grids_HWC], device=device)
        cells = size_hw.prod(-1)
        return cls(torch.cat([grid.flatten(0, 1) for grid in grids_HWC]), cells.cumsum(0) - cells, size_hw)

    @classmethod
    def from_batch(cls, grids_NHWC: Tensor) -> FeatureGrids:
        """Take equal grids `(N, H, W, C)`."""
        count, height, width, _ = grids_NHWC.shape
        device = grids_NHWC.device
        start = torch.arange(count, device=device) * (height * width)
        size_hw = torch.tensor([[height, width]], device=device).expand(count, 2)
        return cls(grids_NHWC.flatten(0, 2), start, size_hw)

    @classmethod
    def join(cls, parts: Sequence[FeatureGrids]) -> FeatureGrids:
        """Put the grids of several tables into one."""
        sizes = torch.tensor([len(part.table) for part in parts], device=parts[0].start.device)
        offsets = sizes.cumsum(0) - sizes
        window = None
        if any(part.window is not None for part in parts):
            window = torch.cat([part.windows() for part in parts])
        return cls(
            torch.cat([part.table for part in parts]),
            torch.cat([part.start + offset for part, offset in zip(parts, offsets, strict=True)]),
            torch.cat([part.size_hw for part in parts]),
            window,
        )

    @classmethod
    def empty(cls, channels: int, like: Tensor) -> FeatureGrids:
        """Return the grids of a batch without images, on the device and in the dtype of `like`."""
        none = torch.zeros(0, dtype=torch.long, device=like.device)
        return cls(like.new_zeros(0, channels), none, none.view(0, 1).expand(0, 2))

    def with_table(self, table_SC: Tensor) -> FeatureGrids:
        """Return the same grids with other features, for example projected ones."""
        return FeatureGrids(table_SC, self.start, self.size_hw, self.window)

    def select(self, index: Tensor) -> FeatureGrids:
        """Return the grids of the images at `index (M,)`, in that order, with repeats."""
        window = None if self.window is None else self.window[index]
        return FeatureGrids(self.table, self.start[index], self.size_hw[index], window)

    def cell_size(self, image_R: Tensor) -> Tensor:
        """Return width and height of each image's cells, in 0..1 of the encoded picture: `(R, 2)`."""
        size_R2 = 1.0 / self.size_hw[image_R].flip(-1).float()
        if self.window is None:
            return size_R2
        low_R2, high_R2 = self.window[image_R].float().split(2, dim=-1)
        return size_R2 * (high_R2 - low_R2)

    def copied(self) -> FeatureGrids:
        """Return the same grids in a table that holds nothing else."""
        cells = self.size_hw.prod(-1).tolist()
        rows = [self.table[start : start + count] for start, count in zip(self.start, cells, strict=True)]
        sizes = self.size_hw.prod(-1)
        window = None if self.window is None else self.window.clone()
        return FeatureGrids(torch.cat(rows), sizes.cumsum(0) - sizes, self.size_hw.clone(), window)

    def windows(self) -> Tensor:
        """Return `window`, written out where it is None: `(N, 4)`."""
        if self.window is not None:
            return self.window
        return torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=self.table.device).expand(len(self.start), 4)

    def places(self, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Carry points `(R, P, 2)` in 0..1 of the encoded picture to 0..1 of what the grid covers."""
        if self.window is None:
            return points_RP2
        low_R12, high_R12 = self.window[image_R].to(points_RP2.dtype)[:, None].split(2, dim=-1)
        return (points_RP2 - low_R12) / (high_R12 - low_R12)

    def centres(self, image: int) -> Tensor:
        """Return the centres of an image's cells, row-major, in 0..1 of the encoded picture: `(H * W, 2)`."""
        height, width = (int(side) for side in self.size_hw[image])
        device = self.table.device
        x = (torch.arange(width, device=device) + 0.5) / width
        y = (torch.arange(height, device=device) + 0.5) / height
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).view(-1, 2)
        if self.window is None:
            return centres
        low, high = self.window[image].float().split(2)
        return low + centres * (high - low)


def sample_grids(
    grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor, *, geometry: SamplingGeometry
) -> Tensor:
    """Read features at points, bilinearly.

    With `aligned` a cell's feature sits at its centre, `((column + 0.5) / W, (row + 0.5) / H)`, and points
    beyond the outermost centres read the border. With `original` it is read as in Ferret's released code: the
    point's x selects the row and its y the column, and 0..1 spans the centres of the first and the last cell.

    Args:
        grids: features of the images.
        points_RP2: `(R, P, 2)` points (x, y) in 0..1 of the encoded picture, float32.
        image_R: `(R,)` index of the image each region lies in.
        geometry: see above.

    Returns:
        `(R, P, C)` in the dtype of the grids.
    """
    points_RP2 = grids.places(points_RP2, image_R)
    size_R12 = grids.size_hw[image_R].to(points_RP2.dtype)[:, None]
    row_limit, column_limit = size_R12[..., 0] - 1, size_R12[..., 1] - 1
    if geometry == "aligned":
        column_RP = (points_RP2[..., 0] * size_R12[..., 1] - 0.5).clamp(min=0).minimum(column_limit)
        row_RP = (points_RP2[..., 1] * size_R12[..., 0] - 0.5).clamp(min=0).minimum(row_limit)
    else:
        column_RP = points_RP2[..., 1].clamp(0, 1) * column_limit
        row_RP = points_RP2[..., 0].clamp(0, 1) * row_limit
    left_RP, top_RP = column_RP.floor(), row_RP.floor()
    right_weight, bottom_weight = column_RP - left_RP, row_RP - top_RP
    right_RP, bottom_RP = (left_RP + 1).minimum(column_limit), (top_RP + 1).minimum(row_limit)
    start_R1, width_R1 = grids.start[image_R][:, None], grids.size_hw[image_R][:, 1:]

    def corner(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        cells = grids.table[start_R1 + row.long() * width_R1 + column.long()]
        return cells * weight.to(cells.dtype)[..., None]

    return (
        corner(top_RP, left_RP, (1 - bottom_weight) * (1 - right_weight))
        + corner(top_RP, right_RP, (1 - bottom_weight) * right_weight)
        + corner(bottom_RP, left_RP, bottom_weight * (1 - right_weight))
        + corner(bottom_RP, right_RP, bottom_weight * right_weight)
    )


def resample(grids: FeatureGrids, onto: FeatureGrids) -> FeatureGrids:
    """Read grids at the centres of the cells of others of the same images, bilinearly.

    Args:
        grids: N images.
        onto: N images; their features aren't read.

    Returns:
        The features of `grids` in cells that lie as those of `onto`.
    """
    read = [
        sample_grids(
            grids,
            onto.centres(image)[None],
            torch.tensor([image], device=grids.table.device),
            geometry="aligned",
        )[0]
        for image in range(len(onto.start))
    ]
    cells = onto.size_hw.prod(-1)
    return FeatureGrids(torch.cat(read), cells.cumsum(0) - cells, onto.size_hw, onto.window)
