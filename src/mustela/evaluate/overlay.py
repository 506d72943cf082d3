"""Regions over a picture of the report, as SVG: lines keep their width however large the picture is shown."""

from __future__ import annotations

from collections.abc import Sequence

from mustela.evaluate.predictions import Prediction
from mustela.regions import Box, Point, Polygon, Region, Scribble


def overlay(prediction: Prediction) -> str:
    """Return SVG in pixels of the picture, of the classes `asked`, `truth` and `answer`.

    Masks are left out: they are pixels, and belong into the picture. The classes are the style sheet's.
    """
    if prediction.image_wh is None:
        return ""
    side = max(prediction.image_wh)
    shown = prediction.question_regions
    parts = [_shape(region, "asked", side) for region in shown]
    parts += [_shape(Box(*box), "truth", side) for box in prediction.reference_boxes]
    parts += [_shape(item.region, "answer", side) for item in prediction.found().regions]
    if len(shown) > 1:
        parts += [_number(index, region, side) for index, region in enumerate(shown, start=1)]
    return "".join(parts)


def _shape(region: Region, style: str, side: int) -> str:
    """Return a shape twice: a dark rim, so that it shows on any background, and the coloured line."""
    match region:
        case Point():
            radius = f"{0.02 * side:.2f}"
            return f'<circle class="{style} spot" cx="{region.x:.2f}" cy="{region.y:.2f}" r="{radius}"/>'
        case Box():
            x1, y1, x2, y2 = region.bounds_xyxy()
            element = f'<rect x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" height="{y2 - y1:.2f}"'
        case Polygon():
            element = f'<path d="{" ".join(_path(ring) + " Z" for ring in region.rings)}"'
        case Scribble():
            element = f'<path d="{_path(region.points)}"'
        case _:
            return ""
    return f'{element} class="rim"/>{element} class="{style}"/>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M " + " L ".join(f"{x:.2f} {y:.2f}" for x, y in points)


def _number(number: int, region: Region, side: int) -> str:
    x1, y1, x2, _ = region.bounds_xyxy()
    size = 0.065 * side
    # Above the region where there is room, otherwise inside it.
    x, y = (x1 + x2) / 2, y1 - 0.4 * size if y1 > 1.6 * size else y1 + size
    return f'<text class="number" x="{x:.2f}" y="{y:.2f}" font-size="{size:.2f}">{number}</text>'
