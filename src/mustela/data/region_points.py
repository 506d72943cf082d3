"""Drawing the points that a region encoder looks at, for all regions of a sample together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mustela.data.render import RenderedRegion
from mustela.regions import Box, Mask, Point, Size, sample_points, sample_window
from mustela.regions.part import meet, part_of
from mustela.regions.rle import Window
from mustela.regions.sampling import draw_ranks, mask_points


def draw_points(
    regions: Sequence[RenderedRegion],
    sizes_wh: Sequence[Size],
    *,
    count: int,
    rng: np.random.Generator | None,
) -> npt.NDArray[np.float32]:
    """Return `count` points (x, y) in pixels of each region: `(R, count, 2)`.

    They are `mustela.regions.sample_points` of its raster, of which no more is drawn than needed. Random
    points of a mask come straight from its runs, drawn as of the transposed raster, since these go down the
    columns.

    Args:
        regions: what slots look at.
        sizes_wh: of the pictures.
        count: points of each.
        rng: draws them; None spreads them evenly, always in the same way.

    Raises:
        RegionError: a region covers no pixel of its picture, or a mask is for another size.
    """
    points = np.empty((len(regions), count, 2), dtype=np.float32)
    masks: list[Mask] = []
    ranks: list[npt.NDArray[np.int64]] = []
    places: list[int] = []
    for place, region in enumerate(regions):
        size_wh = sizes_wh[region.image]
        mask = None if rng is None else _as_mask(region, size_wh)
        if mask is None:
            points[place] = _drawn(region, size_wh, count, rng)
        else:
            masks.append(mask)
            ranks.append(draw_ranks(mask.area(size_wh), count, rng))
            places.append(place)
    if masks:
        points[places] = mask_points(masks, np.stack(ranks))
    return points


def _drawn(
    region: RenderedRegion, size_wh: Size, count: int, rng: np.random.Generator | None
) -> npt.NDArray[np.float32]:
    window = _as_window(region, size_wh)
    if window is not None:
        return sample_window(window, count=count, rng=rng)
    part = part_of(region.region, size_wh, within=region.within)
    points = sample_points(part.pixels, count=count, rng=rng)
    points += np.asarray(part.left_top, dtype=np.float32)
    return points


def _as_window(region: RenderedRegion, size_wh: Size) -> Window | None:
    """Return the window that a raster fills, None where it isn't one."""
    if not isinstance(region.region, Box | Point):
        return None
    window = region.region.window(size_wh)
    if region.within is None:
        return window
    if not isinstance(region.within, Box | Point):
        return None
    return meet(window, region.within.window(size_wh)) or window


def _as_mask(region: RenderedRegion, size_wh: Size) -> Mask | None:
    """Return the mask that a raster is, None where it isn't one."""
    if region.within is None:
        if not isinstance(region.region, Mask):
            return None
        region.region.check_size(size_wh)
        return region.region
    if not (isinstance(region.region, Box) and isinstance(region.within, Mask)):
        return None
    inner = region.within.window(size_wh)
    return region.within if meet(inner, region.region.window(size_wh)) == inner else None
