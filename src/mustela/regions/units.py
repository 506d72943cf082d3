"""Noticing regions whose coordinates can't be pixels."""

from __future__ import annotations

from mustela.regions.types import Box, Polygon, Region, Scribble

SLACK = 1.01
"""Annotations in shares of the sides overshoot 1 by rounding."""


def looks_normalised(region: Region) -> bool:
    """Say whether all coordinates lie in 0..1 and some are fractions.

    A single point, or a dot of a scribble, may well lie in the first pixel, and a mask has no coordinates.
    """
    numbers: tuple[float, ...]
    match region:
        case Box():
            numbers = region.bounds_xyxy()
            if region.x2 > SLACK or region.y2 > SLACK:
                return False
        case Scribble(points) if len(points) > 1:
            numbers = tuple(value for xy in points for value in xy)
        case Polygon(rings):
            numbers = tuple(value for ring in rings for xy in ring for value in xy)
        case _:
            return False
    return min(numbers) >= 0 and max(numbers) <= SLACK and not all(map(float.is_integer, numbers))
