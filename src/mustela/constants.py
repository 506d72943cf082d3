"""Token strings and numbers that more than one layer must agree on."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COORDINATE_BINS",
    "IGNORE_INDEX",
    "IMAGE_PLACEHOLDER",
    "IM_END_TOKEN",
    "IM_PATCH_TOKEN",
    "IM_START_TOKEN",
    "LOCATION_PATTERN",
    "POINT_RADIUS",
    "REGION_TOKEN",
]

IGNORE_INDEX: Final = -100
"""Label of a position that the loss leaves out."""

COORDINATE_BINS: Final = 1000
"""Coordinates in text are integers from 0 to COORDINATE_BINS - 1, a share of the image's side."""

IMAGE_PLACEHOLDER: Final = "<image>"
"""Where a picture stands in the text of a record."""

REGION_TOKEN: Final = "<region_fea>"
"""The token whose embedding the region encoder replaces."""

IM_START_TOKEN: Final = "<im_start>"
IM_END_TOKEN: Final = "<im_end>"
IM_PATCH_TOKEN: Final = "<im_patch>"

LOCATION_PATTERN: Final = r"<bbox_location(\d+)>"
"""Where a region stands in the text of a record; the number is its index in the turn's region list."""

POINT_RADIUS: Final = 5
"""A point stands for the square of pixels up to this far from it, 11 x 11 inside the image."""
