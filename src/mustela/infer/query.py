"""Questions as a person writes them, and how they become messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor
from mustela.data.render import Rendered, RenderedRegion, RenderOptions
from mustela.errors import CountMismatchError, RecordError, RegionError
from mustela.regions import (
    Box,
    Mask,
    Point,
    Polygon,
    Region,
    Scribble,
    Size,
    Transform,
    write_coordinates,
)
from mustela.regions.units import looks_normalised

ImageInput = str | Path | Image.Image
_PLACEHOLDER = re.compile(r"<region(\d{0,6})>")


@dataclass(frozen=True)
class Exchange:
    """An earlier question with its answer; `question` has `<region>` placeholders for its `regions`."""

    question: str
    regions: tuple[Region, ...]
    answer: str


@dataclass(frozen=True)
class Query:
    """One question of a batch: `image` may be a path, a Pillow image or None; regions are in its pixels."""

    image: ImageInput | None
    text: str
    regions: tuple[Region, ...] = ()
    history: tuple[Exchange, ...] = ()


def default_options(processor: MustelaProcessor) -> RenderOptions:
    """Return how regions are written for a model outside training.

    As it was trained, boxes always as boxes.
    """
    settings = processor.settings
    return RenderOptions(
        box_input="box",
        add_region_feature=settings.region_token is not None,
        clamp=settings.point_clamp,
        coordinates=settings.coordinates,
        no_coor=settings.no_coor and settings.region_token is not None,
    )


def render_query(
    query: Query,
    size_wh: Size | None,
    *,
    options: RenderOptions,
    frames: Sequence[Transform] | None = None,
) -> Rendered:
    """Return the messages of a question with its history; `size_wh` is its picture's, None without one.

    `frames` are of `MustelaProcessor.frames`.

    Raises CountMismatchError when placeholders and regions don't add up, RegionError for regions without a
    picture or outside it, RecordError for what is no text.
    """
    for said in (query.text, *(part for item in query.history for part in (item.question, item.answer))):
        check_text(said)
    rounds = [(item.question, item.regions) for item in query.history] + [(query.text, query.regions)]
    sizes_wh = [] if size_wh is None else [size_wh]
    messages: list[Message] = []
    shown: list[RenderedRegion] = []
    for number, (text, regions) in enumerate(rounds):
        asked = [RenderedRegion(regions[index]) for index in placeholder_numbers(text, len(regions))]
        if asked and size_wh is None:
            raise RegionError(f"{len(regions)} regions but no picture: choose one with set_image first.")
        for each in asked:
            check_in_picture(each.region, sizes_wh[0])
        start: tuple[str | Slot, ...] = (Slot.IMAGE, "\n") if number == 0 and size_wh is not None else ()
        parts = question_parts(text, asked, sizes_wh, options=options, frames=frames)
        messages.append(Message("user", (*start, *parts)))
        shown += asked
        if number < len(query.history):
            messages.append(Message("assistant", (query.history[number].answer,)))
    return Rendered("question", tuple(messages), tuple(shown) if options.add_region_feature else ())


def check_text(text: str) -> None:
    """Refuse half a surrogate pair, which is what bytes become that are no UTF-8: no tokenizer takes it.

    Raises:
        RecordError: there is one; names its place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecordError(
            f"the text isn't valid Unicode: character {error.start + 1} is half of a pair, as in a file or"
            f" terminal whose encoding isn't UTF-8: {text[:80]!r}"
        ) from None


def check_in_picture(region: Region, size_wh: Size) -> None:
    """Refuse a region that can't have been meant: in other units than pixels, or outside the picture.

    Args:
        region: what somebody asks about.
        size_wh: of the picture, in pixels.

    Raises:
        RegionError: all its coordinates are fractions in 0..1, it lies outside the picture, or it is a mask
            for another size. A place in the first pixel is none of these.
    """
    if isinstance(region, Mask):
        region.check_size(size_wh)
        return
    width, height = size_wh
    kind = type(region).__name__.lower()
    units = f"Regions are in pixels of the picture, which has {width} x {height}"
    if _misses(region, size_wh):
        reach = ", ".join(f"{value:g}" for value in region.bounds_xyxy())
        raise RegionError(f"the {kind} lies outside the picture: it reaches over [{reach}]. {units}.")
    if looks_normalised(region) and min(width, height) > 1:
        raise RegionError(
            f"the {kind} has only coordinates in 0..1. {units}: multiply by its width and height."
        )


def _misses(region: Point | Box | Scribble | Polygon, size_wh: Size) -> bool:
    if isinstance(region, Point | Box):
        return region.area(size_wh) == 0
    # Without filling the outline, which may take long.
    x1, y1, x2, y2 = region.bounds_xyxy()
    return x2 < 0 or y2 < 0 or x1 >= size_wh[0] or y1 >= size_wh[1]


def question_parts(
    text: str,
    regions: Sequence[RenderedRegion],
    sizes_wh: Sequence[Size],
    *,
    options: RenderOptions,
    frames: Sequence[Transform] | None = None,
) -> Iterator[str | Slot]:
    """Yield the text with coordinates and slots in the place of its placeholders.

    Args:
        text: a question.
        regions: one a placeholder.
        sizes_wh: of the pictures that the regions lie in.
        options: how regions are written.
        frames: of `MustelaProcessor.frames`.
    """
    position = 0
    for match, shown in zip(_PLACEHOLDER.finditer(text), regions, strict=True):
        yield text[position : match.start()]
        position = match.end()
        if not (options.no_coor and options.add_region_feature):
            yield write_coordinates(
                shown.region,
                sizes_wh[shown.image],
                style=options.coordinates,
                clamp=options.clamp,
                fit=frames[shown.image] if frames else None,
            )
        if options.add_region_feature:
            if not options.no_coor:
                yield " "
            yield Slot.REGION
    yield text[position:]


def placeholder_numbers(text: str, regions: int) -> list[int]:
    """Return the index of the region of every `<region>` or `<regionN>` of a text; `regions` is their count.

    Raises CountMismatchError when they don't add up.
    """
    written = [match[1] for match in _PLACEHOLDER.finditer(text)]
    if all(not number for number in written):
        if len(written) != regions:
            given = f"{regions} regions were given"
            if not regions:
                given += "; give one for each, in the shell with --point, --box and so on"
            raise CountMismatchError(
                f"the question has {len(written)} <region> placeholders but {given}. Write one <region> for "
                f"each, or <region1>, <region2> ... to use one several times: {text!r}"
            )
        return list(range(regions))
    if "" in written:
        raise CountMismatchError(f"use either <region> or <region1>, <region2> ..., not both: {text!r}")
    named = {int(number) for number in written}
    if named != set(range(1, regions + 1)):
        names = ", ".join(f"<region{number}>" for number in sorted(named))
        raise CountMismatchError(
            f"the question names {len(named)} regions ({names}) but {regions} were given; "
            f"they are counted from 1: {text!r}"
        )
    return [int(number) - 1 for number in written]


def region_indices(texts: Sequence[str], regions: int) -> list[list[int]]:
    """Return the index of the region of every placeholder of every text; see `placeholder_numbers`."""
    numbers = iter(placeholder_numbers("\n".join(texts), regions))
    return [[next(numbers) for _ in _PLACEHOLDER.finditer(text)] for text in texts]
