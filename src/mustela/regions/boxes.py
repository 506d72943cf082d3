"""Arithmetic on arrays of boxes `(x1, y1, x2, y2)` in continuous coordinates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mustela.errors import RegionError


def box_area(boxes_xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the areas `(N,)` of boxes `(N, 4)`; a box with swapped corners has none."""
    boxes = _as_boxes(boxes_xyxy)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def box_iou(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return intersection over union, float64 `(N, M)`, of boxes `(N, 4)` and `(M, 4)`.

    Coordinates are continuous: the width is `x2 - x1`, nothing is added. Boxes without area, or with
    swapped corners, have an IoU of 0 with everything, themselves included. Not-a-number counts as no overlap.
    """
    a, b = _as_boxes(a_xyxy), _as_boxes(b_xyxy)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0.0)
    intersection: npt.NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    iou = np.zeros_like(intersection)
    np.divide(intersection, union, out=iou, where=(intersection > 0) & (union > 0))
    return iou


def _as_boxes(boxes_xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise RegionError(f"boxes are an array (N, 4) of x1, y1, x2, y2; got shape {boxes.shape}.")
    return boxes
