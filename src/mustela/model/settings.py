"""Settings of a model that is to be built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mustela.data.tiling import TileOrder
from mustela.model.classic_config import ProjectorName
from mustela.model.configuration import RegionEncoderName, RegionTowerJoin, SamplingGeometry
from mustela.model.tiling import RegionMap


@dataclass(frozen=True)
class RegionSettings:
    """The region encoder of a model to be built; see `mustela.model.MustelaConfig`.

    Attributes:
        tower: folder or name of the region tower; None: there is none.
        tower_size: side of the square picture that it takes; None: what it was trained with.
    """

    encoder: RegionEncoderName = "geo"
    geometry: SamplingGeometry = "aligned"
    pooling: Literal["max", "mean"] = "max"
    points: int = 512
    sub_points: tuple[int, ...] = (128, 32)
    neighbors: int = 24
    tokens: int = 1
    tower: str | None = None
    tower_size: int | None = None
    tower_layer: int = -1
    tower_join: RegionTowerJoin = "concat"


@dataclass(frozen=True)
class ClassicSettings:
    """The classic composition to be built, under the original's names.

    Attributes:
        image_wh: the picture, or the tile, that the vision tower takes.
        select_layer: hidden state of the tower that is read.
        select_feature: `patch` or `cls_patch`.
        projector_type: `linear`, `mlp2x_gelu` or `mlp_downsample`.
        image_aspect_ratio: `square_nocrop`, `pad` or `anyres`.
        image_grids: with `anyres`, grids of tiles, see `mustela.data.tiling.parse_grids`.
        max_tokens: with `anyres`, image tokens a picture at most; None: any number.
        tile_order: with `anyres`, see `mustela.data.tiling.TileTokens`.
        region_map: with `anyres`, what regions are read from: `merged`, `tiles` or `global`.
        tile_tower: with `anyres`, folder or name of another encoder for the tiles; None: the same.
        use_im_start_end: mark pictures in the text.
        use_im_patch_token: add the unused token `<im_patch>`, so that ids equal those of the original.
    """

    image_wh: tuple[int, int] = (336, 336)
    select_layer: int = -2
    select_feature: str = "patch"
    projector_type: ProjectorName = "linear"
    image_aspect_ratio: str = "square_nocrop"
    image_grids: str = "ferret-v2"
    max_tokens: int | None = None
    tile_order: TileOrder = "flat"
    region_map: RegionMap = "merged"
    tile_tower: str | None = None
    use_im_start_end: bool = False
    use_im_patch_token: bool = False
