"""The simple region encoder: the mean of projected features over the region's points."""

from __future__ import annotations

from torch import Tensor, nn

from mustela.model.configuration import SamplingGeometry
from mustela.model.grids import FeatureGrids, sample_grids


class MeanEncoder(nn.Module):
    """Project the grid, read it at the points, average.

    Args:
        channels: channels C of the grid.
        hidden_size: width D of the output.
        geometry: see `mustela.model.grids.sample_grids`.
    """

    def __init__(self, channels: int, hidden_size: int, *, geometry: SamplingGeometry = "aligned") -> None:
        super().__init__()
        self.geometry: SamplingGeometry = geometry
        self.projection = nn.Linear(channels, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        projected = grids.with_table(self.projection(grids.table))
        return sample_grids(projected, points_RP2, image_R, geometry=self.geometry).mean(1)
