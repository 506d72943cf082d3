"""What a processor and its model must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mustela.constants import REGION_TOKEN
from mustela.data.resizing import ResizeWith
from mustela.data.tiling import TileOrder
from mustela.regions import CoordinateStyle, Size


@dataclass(frozen=True)
class ProcessorSettings:
    """What the processor and its model must agree on; stored with the model.

    Attributes:
        region_token: the token that carries region features; None for models without a region encoder.
        region_points: points sampled in a region.
        tokens_per_region: region tokens that stand for one region.
        sampling_geometry: as in `mustela.model.MustelaConfig`. `original` names a pixel by its corner.
        image_aspect_ratio: `square_nocrop`, `pad` or `anyres`: mustela fits pictures to `resized_image_wh`.
            None: the base's own image processor does.
        resized_image_wh: the picture, or the tile, that the vision encoder takes.
        image_resize: what resizes them: `pillow` as in the original, or `torch`, see `mustela.data.resizing`.
        image_grids: with `anyres`, columns and rows of tiles to choose from.
        tile_order: with `anyres`, how tokens are laid out, see `mustela.data.tiling.TileTokens`.
        tile_patch: with `anyres`, pixels along one side of a token of a tile; None: as in the overview.
        region_image_wh: the picture that the region tower takes; None: there is none.
        mm_use_im_start_end: write `<im_start>` and `<im_end>` round pictures.
        coordinates: how numbers are written in texts, see `mustela.regions.CoordinateStyle`.
        no_coor: questions name regions by their features alone, without numbers.
        point_clamp: how coordinates are clamped before they are written, see `mustela.regions.quantise`.
    """

    region_token: str | None = REGION_TOKEN
    region_points: int = 512
    tokens_per_region: int = 1
    sampling_geometry: Literal["aligned", "original"] = "aligned"
    image_aspect_ratio: str | None = None
    resized_image_wh: tuple[int, int] | None = None
    image_resize: ResizeWith = "pillow"
    image_grids: tuple[Size, ...] = ()
    tile_order: TileOrder = "flat"
    tile_patch: int | None = None
    region_image_wh: Size | None = None
    mm_use_im_start_end: bool = False
    point_clamp: Literal["edge", "last_pixel"] = "edge"
    coordinates: CoordinateStyle = "bins"
    no_coor: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProcessorSettings:
        """Make settings of what `dataclasses.asdict` and JSON made of them."""
        values = dict(values)
        for name in ("resized_image_wh", "region_image_wh"):
            if values.get(name) is not None:
                values[name] = (int(values[name][0]), int(values[name][1]))
        grids = values.get("image_grids", ())
        return cls(**{**values, "image_grids": tuple((int(across), int(down)) for across, down in grids)})
