"""The same question put in other ways: another region for the object, another picture, other words."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mustela.evaluate.answering import readable_question
from mustela.evaluate.forms import FORMS, region_of
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.questions import Question, used_regions
from mustela.infer import Query
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

FAMILIES = ("form", "jitter", "resize", "padding", "paraphrase", "nothing")
PARAPHRASES = (
    "What is <region>?",
    "What is shown at <region>?",
    "What do you see in <region>?",
    "Name the object <region>.",
    "Which object is at <region>?",
)
JITTER = 0.1
JITTERS = 3
SCALES = (0.5, 0.75, 1.5)
PADDING = 0.25
_GREY = (127, 127, 127)
_TRIES = 200
_LEAST_SIDE = 4.0


@dataclass(frozen=True)
class Variant:
    """A question to ask: `family` is one of FAMILIES or "plain", `name` says which of it."""

    question_id: str
    family: str
    name: str
    query: Query


def variants_of(
    question: Question,
    image: Image.Image,
    *,
    taken: Sequence[BoxXYXY],
    paraphrases: Sequence[str] = PARAPHRASES,
    seed: int = 0,
) -> Iterator[Variant]:
    """Yield the plain question about one region and its variants.

    - form: a point, the box, a scribble and the mask of the object; without a mask, its box and the point in
      the middle
    - jitter: three boxes whose corners are moved by up to 10 % of the box's sides, each on its own
    - resize: the picture, and the region with it, at 0.5, 0.75 and 1.5 times its size
    - padding: a grey border of a quarter of the picture's sides, all round, or at the right and bottom only
    - paraphrase: other words for the same question
    - nothing: the region moved to a place, drawn from `taken`, that touches no known object; absent when no
      such place was found in 200 tries

    All choices come from a generator seeded with (seed, the question's id).
    """
    annotation = used_regions(question.question)[0]
    text = readable_question(question)
    rng = np.random.default_rng([seed, zlib.crc32(question.id.encode())])

    def variant(
        family: str, name: str, region: Region, *, words: str = text, shown: Image.Image = image
    ) -> Variant:
        return Variant(question.id, family, name, Query(shown, words, (region,)))

    region = annotation.region
    yield variant("plain", "as asked", region)
    mask = _pixels(region, annotation.mask, image.size)
    box = region if isinstance(region, Box) else Box(*_object_bounds(region, mask))
    if mask is not None:
        for form in FORMS:
            yield variant("form", form, region_of(mask, form, rng=rng, box_xyxy=box.bounds_xyxy()))
    elif isinstance(region, Box):
        yield variant("form", "box", box)
        yield variant("form", "point", Point((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2))
    for number in range(JITTERS):
        yield variant("jitter", f"draw {number + 1}", _jittered(box, image.size, rng))
    for scale in SCALES:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        factors = (size[0] / image.width, size[1] / image.height)
        shown = image.resize(size, Image.Resampling.BICUBIC)
        yield variant("resize", f"size x {scale:g}", moved(region, factors, (0, 0), size), shown=shown)
    width, height = (round(side * PADDING) for side in image.size)
    for name, corner, borders in (("all round", (width, height), 2), ("right and bottom", (0, 0), 1)):
        size = (image.width + borders * width, image.height + borders * height)
        shown = Image.new("RGB", size, _GREY)
        shown.paste(image, corner)
        yield variant("padding", name, moved(region, (1.0, 1.0), corner, size), shown=shown)
    for words in paraphrases:
        if words != text:
            yield variant("paraphrase", words, region, words=words)
    empty = empty_place(box, taken, image.size, rng)
    if empty is not None:
        yield variant("nothing", "empty place", empty)


def _pixels(region: Region, mask: Mask | None, size_wh: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """Return the object's pixels where they are known: its mask, or a region that is its outline."""
    known = mask if mask is not None else region if isinstance(region, Mask | Polygon) else None
    pixels = known.raster(size_wh) if known is not None else None
    return pixels if pixels is not None and pixels.any() else None


def _object_bounds(region: Region, mask: npt.NDArray[np.bool_] | None) -> BoxXYXY:
    return Mask.from_array(mask).bounds_xyxy() if mask is not None else region.bounds_xyxy()


def _jittered(box: Box, size_wh: tuple[int, int], rng: np.random.Generator) -> Box:
    sides = np.array([box.x2 - box.x1, box.y2 - box.y1] * 2)
    corners = np.array(box.bounds_xyxy()) + rng.uniform(-JITTER, JITTER, 4) * sides
    low = np.clip(np.minimum(corners[:2], corners[2:]), 0, size_wh)
    high = np.clip(np.maximum(corners[:2], corners[2:]), 0, size_wh)
    return Box(*low, *high)


def moved(
    region: Region, factors: tuple[float, float], corner_xy: tuple[int, int], size_wh: tuple[int, int]
) -> Region:
    """Return a region where its picture was resized by `factors` and put at `corner_xy` of another."""

    def place(x: float, y: float) -> tuple[float, float]:
        return x * factors[0] + corner_xy[0], y * factors[1] + corner_xy[1]

    match region:
        case Point():
            return Point(*place(region.x, region.y))
        case Box():
            return Box(*place(region.x1, region.y1), *place(region.x2, region.y2))
        case Scribble():
            width = region.width * (factors[0] + factors[1]) / 2
            return Scribble(tuple(place(x, y) for x, y in region.points), width)
        case Polygon():
            return Polygon(tuple(tuple(place(x, y) for x, y in ring) for ring in region.rings))
        case Mask():
            height, width_ = region.size_hw
            pixels = Image.fromarray(region.raster((width_, height)))
            scaled = (round(width_ * factors[0]), round(height * factors[1]))
            resized = pixels.resize((max(1, scaled[0]), max(1, scaled[1])), Image.Resampling.NEAREST)
            shown = Image.new("1", size_wh)
            shown.paste(resized, corner_xy)
            return Mask.from_array(np.asarray(shown, dtype=np.bool_))


def empty_place(
    box: Box, taken: Sequence[BoxXYXY], size_wh: tuple[int, int], rng: np.random.Generator
) -> Box | None:
    """Return a box of the same size inside the picture that touches none of the `taken` ones, or None."""
    sides = np.array([max(box.x2 - box.x1, _LEAST_SIDE), max(box.y2 - box.y1, _LEAST_SIDE)])
    room = np.array(size_wh) - sides
    if (room < 0).any():
        return None
    others = np.asarray(taken, dtype=np.float64).reshape(-1, 4)
    for corner in rng.uniform(0, 1, (_TRIES, 2)) * room:
        apart = (others[:, 2:] <= corner).any(axis=1) | (others[:, :2] >= corner + sides).any(axis=1)
        if apart.all():
            return Box(*corner, *(corner + sides))
    return None


def taken_boxes(questions: Sequence[Question]) -> Mapping[str, list[BoxXYXY]]:
    """Return the boxes of everything that questions and answers about a picture mention, by picture."""
    found: dict[str, list[BoxXYXY]] = {}
    for question in questions:
        for turn in question.record.turns:
            for annotation in turn.regions:
                bounds = (annotation.mask or annotation.region).bounds_xyxy()
                found.setdefault(question.picture, []).append(bounds)
    return found
