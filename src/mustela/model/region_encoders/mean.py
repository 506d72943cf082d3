"""The simple region encoder: the mean of projected features over the region's points, or over parts of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mustela.model.configuration import SamplingGeometry
from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders.geo import farthest_points, nearest_points, take


class MeanEncoder(nn.Module):
    """Project the grid, read it at the points, average.

    Args:
        channels: channels C of the grid.
        hidden_size: width D of the output.
        tokens: region tokens: as many parts of the region, each averaged by itself. A part is the points that
            are nearest to one of as many points far from each other; the parts lie from top to bottom.
        geometry: see `mustela.model.grids.sample_grids`.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        *,
        tokens: int = 1,
        geometry: SamplingGeometry = "aligned",
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.geometry: SamplingGeometry = geometry
        self.projection = nn.Linear(channels, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R * tokens, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        projected = grids.with_table(self.projection(grids.table))
        features_RPD = sample_grids(projected, points_RP2, image_R, geometry=self.geometry)
        if self.tokens == 1:
            return features_RPD.mean(1)
        share_RPt = self._parts(points_RP2).to(features_RPD.dtype)
        return (share_RPt.transpose(1, 2) @ features_RPD).flatten(0, 1)

    @torch.no_grad()
    def _parts(self, points_RP2: Tensor) -> Tensor:
        """Return each point's weight in the mean of each part: `(R, P, tokens)`; a part's sum is 1."""
        anchors_Rt2 = take(points_RP2, farthest_points(points_RP2, self.tokens))
        order_Rt = (anchors_Rt2[..., 1] + 1e-3 * anchors_Rt2[..., 0]).argsort(dim=-1, stable=True)
        anchors_Rt2 = take(anchors_Rt2, order_Rt)
        # Where points coincide a part may stay empty: it is the whole region then.
        near_RP1 = nearest_points(points_RP2, anchors_Rt2, 1)
        share_RPt = nn.functional.one_hot(near_RP1[..., 0], self.tokens).float()
        count_R1t = share_RPt.sum(1, keepdim=True)
        everything = torch.full_like(share_RPt, 1 / points_RP2.shape[1])
        return torch.where(count_R1t > 0, share_RPt / count_R1t.clamp(min=1), everything)
