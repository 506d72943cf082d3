"""Ferret's spatial-aware visual sampler (You et al. 2023, section 3.2), its dense work done once a grid cell.

Shape legend: R regions, P points of a stage, n points kept, k neighbours, C channels, D width of the language
model.

The sampler keeps n of P points by farthest-point sampling, gathers the k nearest points of each, and computes
`pool_k(LayerNorm(ReLU(W [V (neighbour - anchor) + b; anchor] + c)))` where neighbour and anchor are a point's
feature joined with its (x, y). Everything before the ReLU is linear, so with `W = [W1 W2]` and `A = W1 V` it
equals `A neighbour + (W2 - A) anchor + (W1 b + c)`: one product a point and one an anchor instead of two a
neighbour. In the first stage a point's feature is interpolated from the grid, which is linear too, so the
products are taken once a grid cell, whatever the number of regions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mustela.model.configuration import SamplingGeometry
from mustela.model.grids import FeatureGrids, sample_grids

# Numbers of all neighbours of a group of regions: 32 MiB of float32, two regions of Ferret's sampler.
NUMBERS_AT_ONCE = 2**23


@torch.no_grad()
def farthest_points(points_RP2: Tensor, count: int) -> Tensor:
    """Choose points that are far from each other, starting with the first.

    Args:
        points_RP2: `(R, P, 2)`; taken to float32, as lower precision merges neighbouring points.
        count: n, at most P.

    Returns:
        `(R, n)` indices; each maximises the distance to those before it, the first of equals.
    """
    points_RP2 = points_RP2.float()
    regions, total, _ = points_RP2.shape
    chosen_nR = torch.zeros(count, regions, dtype=torch.long, device=points_RP2.device)
    distance_RP = torch.full((regions, total), torch.inf, device=points_RP2.device)
    x_RP, y_RP = points_RP2.unbind(-1)
    for step in range(1, count):
        last_R1 = chosen_nR[step - 1][:, None]
        away_RP = (x_RP - x_RP.gather(1, last_R1)).square() + (y_RP - y_RP.gather(1, last_R1)).square()
        distance_RP = torch.minimum(distance_RP, away_RP)
        chosen_nR[step] = distance_RP.argmax(-1)
    return chosen_nR.T


@torch.no_grad()
def nearest_points(anchors_Rn2: Tensor, points_RP2: Tensor, count: int) -> Tensor:
    """Find the nearest points of each anchor, by differences in float32 (no cancellation).

    Returns:
        `(R, n, k)` indices into P, nearest first.
    """
    difference = anchors_Rn2.float()[:, :, None] - points_RP2.float()[:, None]
    return difference.square().sum(-1).topk(count, largest=False, sorted=False).indices


def take(values_RPC: Tensor, index: Tensor) -> Tensor:
    """Gather rows a region: `(R, P, C)` at `(R, ...)` gives `(R, ..., C)`."""
    region = torch.arange(values_RPC.shape[0], device=index.device).view(-1, *[1] * (index.ndim - 1))
    return values_RPC[region, index]


class GeoStage(nn.Module):
    """One stage of the sampler: from P points to n, each with the pooled features of its k neighbours.

    Args:
        channels: C.
        pooling: `max` or `mean` over the neighbours.
    """

    def __init__(self, channels: int, *, pooling: Literal["max", "mean"]) -> None:
        super().__init__()
        self.channels = channels
        self.pooling = pooling
        self.difference = nn.Linear(channels + 2, channels + 2)
        self.aggregate = nn.Linear(2 * (channels + 2), channels)
        self.norm = nn.LayerNorm(channels)

    def composed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the stage's two linear layers as one: neighbour weight A, anchor weight `W2 - A`, bias."""
        first, second = self.aggregate.weight.split(self.channels + 2, dim=1)
        neighbor = first @ self.difference.weight
        return neighbor, second - neighbor, first @ self.difference.bias + self.aggregate.bias

    def pool(self, neighbor_RPC: Tensor, anchor_RnC: Tensor, nearest_Rnk: Tensor) -> Tensor:
        """Add the two linear parts for every neighbour, then ReLU, LayerNorm and pooling: `(R, n, C)`.

        Many regions go through in groups whose numbers for every neighbour are made again for the gradient:
        only one group's are ever held.
        """
        regions = neighbor_RPC.shape[0]
        numbers = anchor_RnC.shape[1] * nearest_Rnk.shape[2] * self.channels
        group = max(NUMBERS_AT_ONCE // numbers, 1)
        if regions <= group:
            return self._pooled(neighbor_RPC, anchor_RnC, nearest_Rnk)
        parts = [
            checkpoint(self._pooled, *part, use_reentrant=False, preserve_rng_state=False)
            for part in zip(
                *(each.split(group) for each in (neighbor_RPC, anchor_RnC, nearest_Rnk)), strict=True
            )
        ]
        return torch.cat(parts)

    def _pooled(self, neighbor_RPC: Tensor, anchor_RnC: Tensor, nearest_Rnk: Tensor) -> Tensor:
        joined_RnkC = take(neighbor_RPC, nearest_Rnk) + anchor_RnC[:, :, None]
        normed_RnkC = self.norm(joined_RnkC.relu())
        return normed_RnkC.amax(2) if self.pooling == "max" else normed_RnkC.mean(2)


class GeoSampler(nn.Module):
    """The sampler: points of a region to one vector.

    Args:
        channels: channels C of the feature grid.
        hidden_size: width D of the output.
        sub_points: points kept by each stage.
        neighbors: k.
        pooling: `max` or `mean`.
        tokens: region tokens; each reads the last stage's points with weights of its own.
        geometry: see `mustela.model.grids.sample_grids`.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        *,
        sub_points: tuple[int, ...] = (128, 32),
        neighbors: int = 24,
        pooling: Literal["max", "mean"] = "max",
        tokens: int = 1,
        geometry: SamplingGeometry = "aligned",
    ) -> None:
        super().__init__()
        self.sub_points = sub_points
        self.neighbors = neighbors
        self.tokens = tokens
        self.geometry: SamplingGeometry = geometry
        self.stages = nn.ModuleList(GeoStage(channels, pooling=pooling) for _ in sub_points)
        self.flatten = nn.Linear(sub_points[-1] * channels, tokens * channels)
        self.output = nn.Linear(channels, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R * tokens, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        points_RP2 = points_RP2.float()
        features_RPC: Tensor | None = None
        for module, count in zip(self.stages, self.sub_points, strict=True):
            stage: GeoStage = module  # type: ignore[assignment]
            chosen_Rn = farthest_points(points_RP2, count)
            anchors_Rn2 = take(points_RP2, chosen_Rn)
            nearest_Rnk = nearest_points(anchors_Rn2, points_RP2, min(self.neighbors, points_RP2.shape[1]))
            to_neighbor, to_anchor, bias = stage.composed()
            channels = stage.channels
            place = to_neighbor.dtype
            if features_RPC is None:
                neighbor_map = grids.with_table(grids.table @ to_neighbor[:, :channels].T)
                anchor_map = grids.with_table(grids.table @ to_anchor[:, :channels].T)
                neighbor_RPC = sample_grids(neighbor_map, points_RP2, image_R, geometry=self.geometry)
                anchor_RnC = sample_grids(anchor_map, anchors_Rn2, image_R, geometry=self.geometry)
            else:
                neighbor_RPC = features_RPC @ to_neighbor[:, :channels].T
                anchor_RnC = take(features_RPC, chosen_Rn) @ to_anchor[:, :channels].T
            neighbor_RPC = neighbor_RPC + points_RP2.to(place) @ to_neighbor[:, channels:].T
            anchor_RnC = anchor_RnC + anchors_Rn2.to(place) @ to_anchor[:, channels:].T + bias
            features_RPC = stage.pool(neighbor_RPC, anchor_RnC, nearest_Rnk)
            points_RP2 = anchors_Rn2
        pooled_RnC: Tensor = features_RPC  # type: ignore[assignment]
        return self.output(self.flatten(pooled_RnC.flatten(1)).unflatten(1, (self.tokens, -1)).flatten(0, 1))
