"""Rendering: a record becomes messages with slots, and the regions that belong to the slots.

Everything that is left to chance (point or box, where the point lies) comes from the generator that is passed
in, so neither the number of workers nor an interrupted run changes a sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.message import Message, Slot
from mustela.data.pointing import BoxXyxy, check_point_input_sample, choose_point
from mustela.data.record import Record, Turn
from mustela.errors import ConfigError, RecordError
from mustela.regions import (
    COORDINATE_STYLES,
    Box,
    Clamp,
    CoordinateStyle,
    Mask,
    Point,
    Region,
    Transform,
    write_coordinates,
)

BoxInput = Literal["random", "box", "point"]

_PLACEHOLDERS = re.compile(f"{re.escape(IMAGE_PLACEHOLDER)}|{LOCATION_PATTERN}")


@dataclass(frozen=True, slots=True)
class RenderedRegion:
    """What one region slot looks at: a region, and the region that it must stay `within` (a mask, say)."""

    region: Region
    within: Region | None = None
    image: int = 0

    def raster(self, size_wh: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the pixels as bool (H, W): region and `within`; the region alone if they don't meet."""
        pixels = self.region.raster(size_wh)
        if self.within is None:
            return pixels
        both = pixels & self.within.raster(size_wh)
        return both if both.any() else pixels


@dataclass(frozen=True, slots=True)
class _Place:
    """A picture as coordinates see it: its size, and how it is fitted where that matters."""

    size_wh: tuple[int, int]
    fit: Transform | None


# The text of a region with its slot, and what the slot looks at.
_Written = tuple[tuple[str | Slot, ...], RenderedRegion | None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A record as messages; `regions` are in the order of the region slots in the messages."""

    record_id: str
    messages: tuple[Message, ...]
    regions: tuple[RenderedRegion, ...]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How regions are written into the text.

    Args:
        point_input_sample: how a box becomes a point, see `mustela.data.pointing.choose_point`.
        refer_previous_point: a box that a user's turn mentions twice (same box, same mask) becomes the same
            point. Answers keep their boxes. (The original wrote the user's point into answers.)
        no_coor: questions carry no coordinates. Answers keep theirs. (The original left holes there.)
        add_region_feature: each region of a user's turn gets a region slot.
        clamp: "edge" clamps boxes to [0, width]; "last_pixel" to [0, width - 1] as the original did.
        box_input: how a user's boxes are shown; "random" draws box or point once a turn, evenly.
        coordinates: how numbers are written, see `mustela.regions.CoordinateStyle`.
    """

    point_input_sample: str = "segment_mask|center"
    refer_previous_point: bool = False
    no_coor: bool = False
    add_region_feature: bool = True
    clamp: Clamp = "edge"
    box_input: BoxInput = "random"
    coordinates: CoordinateStyle = "bins"

    def __post_init__(self) -> None:
        check_point_input_sample(self.point_input_sample)
        if self.clamp not in ("edge", "last_pixel"):
            raise ConfigError(f"clamp is {self.clamp!r}. Choose 'edge' or 'last_pixel'.")
        if self.box_input not in ("random", "box", "point"):
            raise ConfigError(f"box_input is {self.box_input!r}. Choose 'random', 'box' or 'point'.")
        if self.coordinates not in COORDINATE_STYLES:
            raise ConfigError(
                f"coordinates is {self.coordinates!r}. Choose one of: {', '.join(COORDINATE_STYLES)}."
            )


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one sample: a function of seed, epoch and record index and of nothing else."""
    if min(seed, epoch, index) < 0:
        raise ConfigError(f"seed, epoch and index must not be negative, got {seed}, {epoch}, {index}.")
    return np.random.default_rng((seed, epoch, index))


def render(
    record: Record,
    options: RenderOptions,
    *,
    sizes_wh: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    frames: Sequence[Transform] | None = None,
) -> Rendered:
    """Turn a record into messages and ordered regions.

    Text of the record stays text, whatever it looks like: only `<bbox_locationN>`, and in users' turns the
    first `<image>`s, as many as there are pictures, mean anything. With one picture its slot opens the turn,
    a newline follows, and the text around is stripped, as in the original; several keep their places.

    Args:
        record: what to render.
        options: how regions become text.
        sizes_wh: (width, height) of each picture as shown.
        rng: source of all choices, see `sample_rng`.
        frames: how each picture is fitted; coordinates `resized` need it.

    Raises:
        RecordError: sizes, `<image>`s or placeholders don't match the pictures and regions of the record.
    """
    images = len(record.images)
    if len(sizes_wh) != images:
        raise RecordError(f'record "{record.id}": {images} images but {len(sizes_wh)} image sizes.')
    places = [_Place(size, frames[index] if frames else None) for index, size in enumerate(sizes_wh)]
    messages = [Message("system", (record.system,))] if record.system else []
    regions: list[RenderedRegion] = []
    images_left = images
    for number, turn in enumerate(record.turns):
        written = _write_regions(turn, options, places, rng)
        try:
            parts, shown = _fill_in(turn.text, written, images=images_left if turn.role == "user" else 0)
        except IndexError:
            raise RecordError(
                f'record "{record.id}", turn {number}: a placeholder has no region; '
                f"the turn has {len(written)} regions: {turn.text!r}"
            ) from None
        images_here = parts.count(Slot.IMAGE)
        images_left -= images_here
        if images_here and images == 1:
            parts = _image_first(parts)
        messages.append(Message(turn.role, _join_text(parts)))
        regions.extend(shown)
    if images_left:
        raise RecordError(
            f'record "{record.id}": {images} images but {images - images_left} {IMAGE_PLACEHOLDER} in the '
            f"user's turns. Write one for each image."
        )
    return Rendered(record.id, tuple(messages), tuple(regions))


def _fill_in(
    text: str, written: Sequence[_Written], *, images: int
) -> tuple[list[str | Slot], list[RenderedRegion]]:
    """Replace the placeholders of a text; an IndexError where a region is missing."""
    parts: list[str | Slot] = []
    shown: list[RenderedRegion] = []
    position = 0
    for place in _PLACEHOLDERS.finditer(text):
        number = place[1]
        if number is not None:
            region_parts, region = written[int(number)]
            parts += (text[position : place.start()], *region_parts)
            if region is not None:
                shown.append(region)
        elif images > 0:
            parts += (text[position : place.start()], Slot.IMAGE)
            images -= 1
        else:
            continue
        position = place.end()
    parts.append(text[position:])
    return parts, shown


def _write_regions(
    turn: Turn, options: RenderOptions, places: Sequence[_Place], rng: np.random.Generator
) -> list[_Written]:
    """Return, for each region of the turn, its text with slots and what its slot looks at."""
    if not turn.regions:
        return []
    if turn.role == "assistant":
        return [((_coordinates(a.region, places[a.image], options),), None) for a in turn.regions]
    as_point = False
    if any(isinstance(annotation.region, Box) for annotation in turn.regions):
        drawn = bool(rng.integers(2)) if options.box_input == "random" else False
        as_point = drawn or options.box_input == "point"
    points: dict[tuple[Region, Mask | None, int], Point] = {}
    written: list[_Written] = []
    for annotation in turn.regions:
        shown = RenderedRegion(annotation.region, annotation.mask, annotation.image)
        place = places[annotation.image]
        if as_point and isinstance(annotation.region, Box):
            key = (annotation.region, annotation.mask, annotation.image)
            point = points.get(key) if options.refer_previous_point else None
            if point is None:
                box = _clamped(annotation.region, place.size_wh, options.clamp)
                point = Point(*choose_point(box, annotation.mask, mode=options.point_input_sample, rng=rng))
                points[key] = point
            shown = RenderedRegion(point, annotation.mask or annotation.region, annotation.image)
        text = "" if options.no_coor else _coordinates(shown.region, place, options)
        written.append(_with_slot(text, shown, options))
    return written


def _with_slot(text: str, shown: RenderedRegion, options: RenderOptions) -> _Written:
    if not options.add_region_feature:
        return (text,), None
    return ((f"{text} ", Slot.REGION) if text else (Slot.REGION,)), shown


def _coordinates(region: Region, place: _Place, options: RenderOptions) -> str:
    return write_coordinates(
        region, place.size_wh, style=options.coordinates, clamp=options.clamp, fit=place.fit
    )


def _clamped(box: Box, size_wh: tuple[int, int], clamp: Clamp) -> BoxXyxy:
    x1, y1, x2, y2 = box.bounds_xyxy()
    margin = 1 if clamp == "last_pixel" else 0
    right, bottom = size_wh[0] - margin, size_wh[1] - margin
    return min(max(x1, 0), right), min(max(y1, 0), bottom), min(max(x2, 0), right), min(max(y2, 0), bottom)


def _image_first(parts: list[str | Slot]) -> list[str | Slot]:
    """Return image slot, newline and the rest stripped; the slot alone if nothing is left."""
    rest = list(_join_text([part for part in parts if part is not Slot.IMAGE]))
    if rest and isinstance(rest[0], str):
        rest[0] = rest[0].lstrip()
    if rest and isinstance(rest[-1], str):
        rest[-1] = rest[-1].rstrip()
    rest = [part for part in rest if part]
    return [Slot.IMAGE, "\n", *rest] if rest else [Slot.IMAGE]


def _join_text(parts: Sequence[str | Slot]) -> tuple[str | Slot, ...]:
    """Join neighbouring strings and drop empty ones, so that equal texts have equal parts."""
    joined: list[str | Slot] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            joined.append(text)
            text = ""
        joined.append(part)
    if text:
        joined.append(text)
    return tuple(joined)
