"""A region's mask embedded into the vision features by a patch convolution that starts at zero.

The convolution's kernel and stride are one grid cell, and it is linear, so it is taken where features are
read instead of over whole maps: reading the mask's patches and convolving them is the same as convolving the
mask and reading that, without a map of all channels for every region.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mustela.model.grids import FeatureGrids, sample_grids


class MaskEmbedding(nn.Module):
    """Embed the mask that a region's points draw, `side` x `side` places a grid cell.

    Args:
        channels: channels C of the feature grid.
        side: places along one side of a cell.
    """

    def __init__(self, channels: int, *, side: int = 2) -> None:
        super().__init__()
        self.side = side
        self.patch = ZeroConvolution(1, channels, kernel_size=side, stride=side, bias=False)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor, places_RS2: Tensor) -> Tensor:
        """Return what is added to the features at places `(R, S, 2)`: `(R, S, C)`."""
        masks = region_masks(grids, points_RP2, image_R, side=self.side)
        region_R = torch.arange(len(image_R), device=image_R.device)
        read_RSs = sample_grids(masks, places_RS2, region_R, geometry="aligned")
        return nn.functional.linear(read_RSs.to(self.patch.weight.dtype), self.patch.weight.flatten(1))


class ZeroConvolution(nn.Conv2d):
    """A convolution that starts at zero."""

    def reset_parameters(self) -> None:
        """Set all numbers to zero."""
        nn.init.zeros_(self.weight)


@torch.no_grad()
def region_masks(grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor, *, side: int) -> FeatureGrids:
    """Draw each region's points into a mask, cut into patches of one grid cell.

    Args:
        grids: of the images; their features aren't read.
        points_RP2: `(R, P, 2)` points in 0..1 of the encoded picture.
        image_R: `(R,)` index of the image each region lies in.
        side: places along one side of a cell.

    Returns:
        One grid a region, as large as its image's, of `side * side` channels of 0 and 1.
    """
    size_R2 = grids.size_hw[image_R]
    cells_R = size_R2.prod(-1)
    start_R = cells_R.cumsum(0) - cells_R
    limit_R12 = (size_R2 * side)[:, None, None]
    yx_RP2 = grids.places(points_RP2.float(), image_R).flip(-1)
    # Points are samples of the mask: each also marks what lies round it.
    step = torch.arange(-1, 2, device=points_RP2.device)
    marked_RP92 = (yx_RP2[:, :, None] * limit_R12).floor().long() + torch.cartesian_prod(step, step)
    marked_RP92 = marked_RP92.clamp(min=0).minimum(limit_R12 - 1)
    row, column = marked_RP92.unbind(-1)
    cell = start_R[:, None, None] + row // side * size_R2[:, 1, None, None] + column // side
    channel = row % side * side + column % side
    table = torch.zeros(int(cells_R.sum()), side * side, device=points_RP2.device)
    table[cell.flatten(), channel.flatten()] = 1.0
    window = None if grids.window is None else grids.window[image_R]
    return FeatureGrids(table, start_R, size_R2, window)
