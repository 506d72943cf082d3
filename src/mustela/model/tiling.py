"""Pictures of tiles: tokens for the language model, and one feature map a picture for regions.

Shape legend: N pictures, K tiles of all pictures, H and W rows and columns of a map, C channels, D width of
the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mustela.data.tiling import TileOrder, kept_cells
from mustela.model.grids import FeatureGrids, resample

RegionMap = Literal["merged", "tiles", "global"]


def join_tiles(tiles_KHWC: Tensor, grids_rc: Sequence[tuple[int, int]]) -> list[Tensor | None]:
    """Join the tiles of each picture to one map.

    Args:
        tiles_KHWC: tiles of all pictures, each row by row.
        grids_rc: rows and columns of tiles of each picture; 0 where it has none.

    Returns:
        A map `(rows * H, columns * W, C)` a picture, or None.
    """
    maps: list[Tensor | None] = []
    begin = 0
    for rows, columns in grids_rc:
        if rows * columns == 0:
            maps.append(None)
            continue
        tiles = tiles_KHWC[begin : begin + rows * columns].unflatten(0, (rows, columns))
        begin += rows * columns
        # (rows, columns, H, W, C) -> (rows, H, columns, W, C)
        maps.append(tiles.transpose(1, 2).flatten(0, 1).flatten(1, 2))
    return maps


def picture_tokens(
    overview_TD: Tensor,
    joined_HWD: Tensor | None,
    *,
    grid_rc: tuple[int, int],
    content_xyxy: Sequence[int],
    canvas_wh: tuple[int, int],
    order: TileOrder,
    newline_D: Tensor | None,
) -> Tensor:
    """Lay out the tokens of one picture, see `mustela.data.tiling.TileTokens`: `(T, D)`."""
    if joined_HWD is None:
        return overview_TD
    if order == "flat":
        rows, columns = grid_rc
        tiles = joined_HWD.unflatten(0, (rows, -1)).unflatten(2, (columns, -1)).transpose(1, 2)
        return torch.cat([overview_TD, tiles.reshape(-1, tiles.shape[-1])])
    height, width, _ = joined_HWD.shape
    if order == "spatial_unpad":
        left, top, right, bottom = kept_cells(content_xyxy, canvas_wh, (height, width))
        joined_HWD = joined_HWD[top:bottom, left:right]
    ends = newline_D.to(joined_HWD.dtype).expand(joined_HWD.shape[0], 1, -1)  # type: ignore[union-attr]
    return torch.cat([overview_TD, torch.cat([joined_HWD, ends], dim=1).flatten(0, 1)])


def region_grids(
    overview_NHWC: Tensor,
    joined: Sequence[Tensor | None],
    *,
    content_N4: Tensor,
    canvases_wh: Sequence[tuple[int, int]],
    region_map: RegionMap,
) -> FeatureGrids:
    """Make one map a picture, on the canvas of its tiles.

    The overview shows the whole picture and no margin, so it covers a part of the canvas; it is read at the
    centres of the joined tiles' cells and added to them, as Ferret-v2 does (Zhang et al. 2024, section 3.2).

    Args:
        overview_NHWC: features of the overviews.
        joined: the joined tiles of each picture, or None.
        content_N4: left, top, right and bottom of each picture on its canvas, in pixels.
        canvases_wh: size of each canvas.
        region_map: `merged`, or one of both alone. A picture without tiles has its overview in every case.
    """
    canvas_N4 = torch.tensor(canvases_wh, device=content_N4.device).repeat(1, 2)
    window = content_N4.float() / canvas_N4
    overview = FeatureGrids.from_batch(overview_NHWC)
    overview = FeatureGrids(overview.table, overview.start, overview.size_hw, window)
    if region_map == "global" or all(each is None for each in joined):
        return overview
    tiles = FeatureGrids.from_list(
        [overview_NHWC[n] if each is None else each for n, each in enumerate(joined)]
    )
    if region_map == "tiles":
        return tiles
    has_tiles = torch.tensor([each is not None for each in joined], device=tiles.table.device)
    cells_S1 = has_tiles.repeat_interleave(tiles.size_hw.prod(-1))[:, None]
    # A picture without tiles has its overview, once.
    return tiles.with_table(tiles.table * cells_S1 + resample(overview, tiles).table)
