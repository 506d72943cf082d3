"""Styles of coordinates in text: what models of different families write, and how to read it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias, get_args

from mustela.constants import COORDINATE_BINS
from mustela.errors import RegionError
from mustela.regions.finder import find_regions
from mustela.regions.found import Found, FoundRegion
from mustela.regions.location_tokens import write_location_tokens
from mustela.regions.reading import Scale
from mustela.regions.text import Clamp, format_box, format_point
from mustela.regions.transform import Fit
from mustela.regions.types import Box, Point, Region

CoordinateStyle: TypeAlias = Literal[
    "bins", "corners", "json", "json_yx", "unit", "pixels", "tokens", "resized"
]
"""`bins`: `[100, 250, 500, 999]`, thousandths of the sides, as Ferret; `corners`: `(100,250),(500,999)`;
`json`: `{"bbox_2d": [100, 250, 500, 999]}`; `json_yx`: `{"box_2d": [250, 100, 1000, 500]}`, thousandths up to
1000, y before x, as Gemma 4; `unit`: `[0.100, 0.250, 0.500, 1.000]`; `pixels`: whole pixels of the original
image; `tokens`: `<loc0256><loc0102><loc1023><loc0512>`, 1024ths of the sides, y before x, as PaliGemma;
`resized`: whole pixels of the picture that the model sees."""

COORDINATE_STYLES: Final[tuple[CoordinateStyle, ...]] = get_args(CoordinateStyle)


def write_coordinates(
    region: Region,
    size_wh: tuple[int, int],
    *,
    style: CoordinateStyle = "bins",
    clamp: Clamp = "edge",
    fit: Fit | None = None,
) -> str:
    """Return a point's coordinates, or those of the box round any other region, as text.

    Args:
        region: in pixels.
        size_wh: of its image.
        style: see `CoordinateStyle`.
        clamp: of bins, see `mustela.regions.quantise`.
        fit: how the picture is fitted to the model; `resized` needs it.

    Raises:
        RegionError: an unknown style, numbers that aren't finite, or `resized` without a fit.
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
    if style == "json_yx":
        return _write_json_yx(inside, size_wh)
    if style == "tokens":
        return write_location_tokens(inside, size_wh)
    if style == "resized":
        encoded = _need_fit(fit).points([inside[i : i + 2] for i in range(0, len(inside), 2)]).ravel()
        sides = _need_fit(fit).encoded_wh
        kept = [min(max(value, 0.0), float(sides[axis % 2])) for axis, value in enumerate(encoded.tolist())]
        return f"[{', '.join(str(round(value)) for value in kept)}]"
    if style == "pixels":
        return f"[{', '.join(str(round(value)) for value in inside)}]"
    raise RegionError(f"coordinates are {style!r}. Choose one of: {', '.join(COORDINATE_STYLES)}.")


def scale_of(style: CoordinateStyle) -> Scale:
    """Return what the numbers of a style mean, for `mustela.regions.find_regions`."""
    if style in ("unit", "pixels", "tokens"):
        return style
    if style == "json_yx":
        return "bins_yx"
    return "pixels" if style == "resized" else "bins"


def read_coordinates(
    text: str, size_wh: tuple[int, int], *, style: CoordinateStyle = "bins", fit: Fit | None = None
) -> Found:
    """Return every box and point of an answer in a style, in pixels of the original image of `size_wh`.

    Where a picture was padded or cropped, what `resized` numbers say of places outside it is moved to its
    border and noted.

    Raises:
        RegionError: `resized` without a fit, or what `mustela.regions.find_regions` refuses.
    """
    if style != "resized":
        return find_regions(text, size_wh, scale=scale_of(style))
    frame = _need_fit(fit)
    found = find_regions(text, frame.encoded_wh, scale="pixels")
    return Found(tuple(_brought_back(one, frame, size_wh) for one in found.regions), found.rejected)


def _write_json_yx(values: Sequence[float], size_wh: tuple[int, int]) -> str:
    """Return `x, y` or `x1, y1, x2, y2` in pixels inside the image as Gemma 4 writes them.

    Its answers are JSON with `box_2d` on 0..1000 of each side (huggingface.co/blog/gemma4, "GUI detection"),
    in Gemini's order, `[y_min, x_min, y_max, x_max]` (docs.cloud.google.com, "Bounding box detection"). That
    its points are Gemini's too, `{"point": [y, x]}`, is an assumption.
    """
    steps = [round(value * COORDINATE_BINS / size_wh[axis % 2]) for axis, value in enumerate(values)]
    turned = [number for x, y in zip(steps[::2], steps[1::2], strict=True) for number in (y, x)]
    return f'{{"{"point" if len(turned) == 2 else "box_2d"}": {turned}}}'


def _brought_back(found: FoundRegion, fit: Fit, size_wh: tuple[int, int]) -> FoundRegion:
    point = isinstance(found.region, Point)
    values = (
        (found.region.x, found.region.y) if isinstance(found.region, Point) else found.region.bounds_xyxy()
    )
    source = fit.inverse_points([values[i : i + 2] for i in range(0, len(values), 2)]).ravel().tolist()
    inside = [min(max(value, 0.0), float(size_wh[axis % 2])) for axis, value in enumerate(source)]
    moved = any(abs(a - b) > 1 for a, b in zip(source, inside, strict=True))
    notes = [note for note in (found.note, "moved to the image's border" if moved else "") if note]
    region = Point(inside[0], inside[1]) if point else Box(*inside)
    return replace(found, region=region, repaired=bool(notes), note="; ".join(notes))


def _need_fit(fit: Fit | None) -> Fit:
    if fit is None:
        raise RegionError("coordinates 'resized' are pixels of the fitted picture; give fit, its transform.")
    return fit
