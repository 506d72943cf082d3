"""Objects of files in COCO's format, as benchmarks need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mustela.errors import RecordError, RegionError
from mustela.evaluate.matching import BoxXYXY
from mustela.regions import Mask, region_from_json


def object_mask(segmentation: Any, size_wh: tuple[int, int], *, where: str) -> npt.NDArray[np.bool_]:
    """Return the pixels (H, W) of a segmentation: polygons, whose union counts, or RLE of any kind.

    Raises RecordError, naming `where`, for one that can't be read.
    """
    try:
        if isinstance(segmentation, Mapping):
            return Mask.from_rle(segmentation).raster(size_wh)
        rings = [ring for ring in segmentation if len(ring) >= 6]
        parts = [region_from_json({"type": "polygon", "rings": [ring]}).raster(size_wh) for ring in rings]
        return np.logical_or.reduce(parts) if parts else np.zeros(size_wh[::-1], dtype=np.bool_)
    except (RegionError, TypeError) as error:
        raise RecordError(f"{where}: its segmentation can't be read: {error}") from error


def corners(bbox: Any, *, where: str) -> BoxXYXY:
    """Return x1, y1, x2, y2 of COCO's bbox; a RecordError names `where` it isn't x, y, width, height."""
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{where}: bbox {bbox!r} is not [x, y, width, height].") from error
    return x, y, x + width, y + height


def picture_name(image: Mapping[str, Any]) -> str:
    """Return a picture's file name; LVIS has only its address."""
    return str(image.get("file_name") or "/".join(str(image.get("coco_url", "")).rsplit("/", 2)[-2:]))
