"""Region encoders that keep the region's layout: features on a grid over the region and what is around it.

In the manner of RoI alignment (He et al. 2017, section 3): the grid moves and scales with the region, so that
one weight sees the same part of every region. The mean over the region's own points is added, which tells a
region from what else its box holds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mustela.errors import ConfigError
from mustela.model.configuration import SamplingGeometry
from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders.mask import MaskEmbedding

# Side of the box that is read, in sides of the region's.
_CONTEXT = 1.2
# Places along one side of a token's part of the box, whose features are averaged.
_PLACES = 2


def over_box(points_RP2: Tensor, size: int, cell_R2: Tensor) -> Tensor:
    """Return the centres of `size` x `size` parts of a box round each region, row-major: `(R, S, 2)`.

    The box is the region's own with a tenth more on every side, for what is around a region says what it is;
    and its parts are no smaller than the cells `(R, 2)` of the features, so a point has surroundings too.
    """
    places = (torch.arange(size, device=points_RP2.device, dtype=points_RP2.dtype) + 0.5) / size - 0.5
    unit_1S2 = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1).view(1, -1, 2)
    low_R12, high_R12 = points_RP2.amin(1, keepdim=True), points_RP2.amax(1, keepdim=True)
    side_R12 = ((high_R12 - low_R12) * _CONTEXT).maximum(size * cell_R2[:, None].to(points_RP2.dtype))
    return (low_R12 + high_R12) / 2 + side_R12 * unit_1S2


class _RoiReader(nn.Module):
    """What both encoders share: reading projected features, with the region's mask in them if asked."""

    def __init__(self, channels: int, *, mask: bool, geometry: SamplingGeometry) -> None:
        super().__init__()
        self.geometry: SamplingGeometry = geometry
        self.mask = MaskEmbedding(channels) if mask else None

    def read(
        self,
        project: nn.Linear,
        grids: FeatureGrids,
        points_RP2: Tensor,
        image_R: Tensor,
        places_RS2: Tensor,
    ) -> Tensor:
        """Return projected features at places `(R, S, 2)` of each region's picture."""
        # Projecting before reading is the same, and done once a grid cell.
        projected = grids.with_table(project(grids.table))
        features = sample_grids(projected, places_RS2, image_R, geometry=self.geometry)
        if self.mask is None:
            return features
        embedded = self.mask(grids, points_RP2, image_R, places_RS2)
        return features + nn.functional.linear(embedded, project.weight)


class RoiEncoder(_RoiReader):
    """Read a grid over the region's box and the mean over its points; join them in a small MLP.

    Args:
        channels: channels C of the feature grid.
        hidden_size: width D of the output.
        size: places along one side of the grid over the region.
        reduced: channels that each place keeps.
        mask: embed the region's mask into the features first.
        geometry: see `mustela.model.grids.sample_grids`.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        *,
        size: int = 6,
        reduced: int = 64,
        mask: bool = False,
        geometry: SamplingGeometry = "aligned",
    ) -> None:
        super().__init__(channels, mask=mask, geometry=geometry)
        self.size = size
        self.reduce = nn.Linear(channels, reduced)
        self.layout = nn.Linear(reduced * size * size, hidden_size)
        self.content = nn.Linear(channels, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        where = (grids, points_RP2, image_R)
        places_RS2 = over_box(points_RP2, self.size, grids.cell_size(image_R))
        layout_RD = self.layout(self.read(self.reduce, *where, places_RS2).flatten(1))
        content_RD = self.read(self.content, *where, points_RP2).mean(1)
        return self.output(nn.functional.gelu(layout_RD + content_RD))


class RoiTokens(_RoiReader):
    """Give each part of a grid over the region's box a token of its own, row-major.

    Args:
        channels: channels C of the feature grid.
        hidden_size: width D of the output.
        tokens: a square number; parts of the grid.
        mask: embed the region's mask into the features first.
        geometry: see `mustela.model.grids.sample_grids`.

    Raises:
        ConfigError: `tokens` is no square.
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        *,
        tokens: int,
        mask: bool = False,
        geometry: SamplingGeometry = "aligned",
    ) -> None:
        super().__init__(channels, mask=mask, geometry=geometry)
        self.side = math.isqrt(tokens)
        if self.side**2 != tokens:
            raise ConfigError(
                f"tokens_per_region is {tokens}, but roi and mask_embed lay them out in a square:"
                f" {self.side**2} or {(self.side + 1) ** 2}."
            )
        self.part = nn.Linear(channels, hidden_size)
        self.content = nn.Linear(channels, hidden_size)
        self.place = nn.Embedding(tokens, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, grids: FeatureGrids, points_RP2: Tensor, image_R: Tensor) -> Tensor:
        """Return `(R * tokens, D)` for points `(R, P, 2)` in 0..1 and image indices `(R,)`."""
        where = (grids, points_RP2, image_R)
        places_RS2 = over_box(points_RP2, self.side * _PLACES, grids.cell_size(image_R))
        fine_RSD = self.read(self.part, *where, places_RS2)
        blocks = fine_RSD.unflatten(1, (self.side, _PLACES, self.side, _PLACES))
        part_RtD = blocks.mean((2, 4)).flatten(1, 2)
        content_R1D = self.read(self.content, *where, points_RP2).mean(1, keepdim=True)
        joined_RtD = part_RtD + content_R1D + self.place.weight
        return self.output(nn.functional.gelu(joined_RtD)).flatten(0, 1)
