"""Styles of coordinates in text: what models of different families write, and how to read it back."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from mustela.errors import RegionError
from mustela.regions.reading import Scale
from mustela.regions.text import Clamp, format_box, format_point
from mustela.regions.types import Point, Region

CoordinateStyle: TypeAlias = Literal["bins", "corners", "json", "unit", "pixels"]
"""`bins`: `[100, 250, 500, 999]`, thousandths of the sides, as Ferret; `corners`: `(100,250),(500,999)`;
`json`: `{"bbox_2d": [100, 250, 500, 999]}`; `unit`: `[0.100, 0.250, 0.500, 1.000]`; `pixels`: whole pixels of
the original image."""

COORDINATE_STYLES: Final[tuple[CoordinateStyle, ...]] = get_args(CoordinateStyle)


def write_coordinates(
    region: Region, size_wh: tuple[int, int], *, style: CoordinateStyle = "bins", clamp: Clamp = "edge"
) -> str:
    """Return a point's coordinates, or those of the box round any other region, as text.

    Args:
        region: in pixels.
        size_wh: of its image.
        style: see `CoordinateStyle`.
        clamp: of bins, see `mustela.regions.quantise`.

    Raises:
        RegionError: an unknown style, or numbers that aren't finite.
    """
    values = (region.x, region.y) if isinstance(region, Point) else region.bounds_xyxy()
    if style in ("bins", "corners", "json"):
        point = isinstance(region, Point)
        text = (format_point if point else format_box)(values, size_wh, clamp=clamp)
        if style == "bins":
            return text
        if style == "json":
            return f'{{"{"point_2d" if point else "bbox_2d"}": {text}}}'
        numbers = text.strip("[]").split(", ")
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return ",".join(f"({x},{y})" for x, y in pairs)
    inside = [min(max(value, 0.0), float(size_wh[axis % 2])) for axis, value in enumerate(values)]
    if style == "unit":
        return f"[{', '.join(f'{value / size_wh[axis % 2]:.3f}' for axis, value in enumerate(inside))}]"
    if style == "pixels":
        return f"[{', '.join(str(round(value)) for value in inside)}]"
    raise RegionError(f"coordinates are {style!r}. Choose one of: {', '.join(COORDINATE_STYLES)}.")


def scale_of(style: CoordinateStyle) -> Scale:
    """Return what the numbers of a style mean, for `mustela.regions.find_regions`."""
    if style == "unit":
        return "unit"
    return "pixels" if style == "pixels" else "bins"
