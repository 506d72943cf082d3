"""A region encoder that keeps the region's layout: features on a grid over the region's bounding box.

In the manner of RoI alignment (He et al. 2017, section 3): the grid moves and scales with the region, so that
one weight sees the same part of every region. The mean over the region's own points is added, which tells a
region from what else its box holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mustela.model.configuration import SamplingGeometry
from mustela.model.grids import FeatureGrids, sample_grids


class RoiEncoder(nn.Module):
    """Read a grid over the region's box and the mean over its points; join them in a small MLP.

    Args:
        channels: channels C of the feature grid.
        hidden_size: width D of the output.
        size: places along one side of the grid over the region.
        reduced: channels that each place keeps.
        geometry: see `mustela.model.grids.sample_grids`.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        *,
        size: int = 6,
        reduced: int = 64,
        geometry: SamplingGeometry = "aligned",
    ) -> None:
        super().__init__()
        self.size = size
        self.geometry: SamplingGeometry = geometry
        self.reduce = nn.Linear(channels, reduced)
        self.layout = nn.Linear(reduced * size * size, hidden_size)
        self.content = nn.Linear(channels, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        places = (torch.arange(self.size, device=points_RP2.device, dtype=points_RP2.dtype) + 0.5) / self.size
        unit_1S2 = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1).view(1, -1, 2)
        low_R12, high_R12 = points_RP2.amin(1, keepdim=True), points_RP2.amax(1, keepdim=True)
        over_box_RS2 = low_R12 + (high_R12 - low_R12) * unit_1S2
        reduced = grids.with_table(self.reduce(grids.table))
        layout_RD = self.layout(
            sample_grids(reduced, over_box_RS2, image_R, geometry=self.geometry).flatten(1)
        )
        content = grids.with_table(self.content(grids.table))
        content_RD = sample_grids(content, points_RP2, image_R, geometry=self.geometry).mean(1)
        return self.output(nn.functional.gelu(layout_RD + content_RD))
