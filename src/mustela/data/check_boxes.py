"""Checking boxes: four numbers that should be a box of the picture, in the declared format."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mustela.data.faults import FaultLog
from mustela.errors import ConfigError
from mustela.regions import Box
from mustela.regions.checks import LARGEST_COORDINATE
from mustela.regions.units import SLACK

BoxFormat = Literal["xyxy", "xywh", "norm1", "norm1000"]
"""Numbers of `box_x1y1x2y2`: corners, or corner and size, in pixels; corners in 0..1 or in 0..1000."""

BOX_FORMATS: Final[tuple[BoxFormat, ...]] = get_args(BoxFormat)

_NORMALISED_SIDE: Final = {"norm1": 1.0, "norm1000": 1000.0}


def check_box_format(box_format: str) -> None:
    """Raise a `ConfigError` that names the choices for an unknown format."""
    if box_format not in BOX_FORMATS:
        raise ConfigError(
            f"box_format is {box_format!r}. Choose one of: {', '.join(map(repr, BOX_FORMATS))}."
        )


def _unknown() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture that regions lie in.

    `size_wh` is its size as shown, None if nobody knows it. Annotations of a picture that was resized since
    are in pixels of `annotated_wh`. `is_turned` tells whether the file's EXIF orientation exchanges its
    sides; a function, as looking opens the file and only error texts ask.
    """

    size_wh: tuple[int, int] | None
    annotated_wh: tuple[int, int] | None = None
    is_turned: Callable[[], bool] = _unknown

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Factors from annotated pixels to those of the file."""
        if self.size_wh is None or self.annotated_wh is None:
            return 1.0, 1.0
        return self.size_wh[0] / self.annotated_wh[0], self.size_wh[1] / self.annotated_wh[1]


# The usual case, tried first: most of the time of reading a large file goes into its numbers.
_PLAIN: Final = (int, float)


def plain_box(value: object, frame: Frame) -> Box | None:
    """Return a box of pixels in which nothing is remarkable; None for all others, also good ones.

    What `read_box` returns for it without a word, in a fraction of the time.
    """
    if type(value) is not list or len(value) != 4 or frame.size_wh is None or frame.annotated_wh is not None:
        return None
    x1, y1, x2, y2 = value
    if type(x1) in _PLAIN and type(y1) in _PLAIN and type(x2) in _PLAIN and type(y2) in _PLAIN:
        right, bottom = frame.size_wh
        if 0 <= x1 < x2 <= right and 0 <= y1 < y2 <= bottom and (x2 > SLACK or y2 > SLACK):
            return Box(float(x1), float(y1), float(x2), float(y2))
    return None


def read_box(
    value: object, frame: Frame, *, box_format: BoxFormat, log: FaultLog, turn: int, field: str
) -> Box | None:
    """Return the box in pixels, clamped to the picture, or None after an error.

    Numeric strings are read as numbers, with a warning.
    """
    numbers = read_numbers(value, 4, what="box", log=log, turn=turn, field=field)
    if numbers is None:
        return None
    corners = _to_pixels(numbers, frame, box_format=box_format, log=log, turn=turn, field=field)
    if corners is None:
        return None
    return place_box(corners, frame, given=numbers, log=log, turn=turn, field=field)


def read_numbers(
    value: object, count: int, *, what: str, log: FaultLog, turn: int, field: str
) -> list[float] | None:
    """Return a list of finite numbers, or None after an error."""
    if not isinstance(value, list | tuple) or len(value) != count:
        shown = f"{len(value)} entries" if isinstance(value, list | tuple) else type(value).__name__
        log.refuse(
            "box.length", f"{what} {_clip(value)} has {shown}, not {count} numbers.", turn=turn, field=field
        )
        return None
    if all(type(entry) in _PLAIN for entry in value):
        plain = [float(entry) for entry in value if abs(entry) <= LARGEST_COORDINATE]
        if len(plain) == count:
            return plain
    numbers = []
    texts = False
    for entry in value:
        texts |= isinstance(entry, str)
        number = _number(entry)
        if number is None or not math.isfinite(number):
            reason = "is not a number" if number is None else "is not finite"
            message = f"{what} {_clip(value)}: {entry!r} {reason}."
            log.refuse("box.numbers", message, "Boxes are four finite numbers.", turn=turn, field=field)
            return None
        numbers.append(number)
    if texts:
        message = f"{what} {_clip(value)} holds text, which was read as numbers."
        log.note("box.text_numbers", message, turn=turn, field=field)
    return numbers


def place_box(
    corners: Sequence[float], frame: Frame, *, given: Sequence[float], log: FaultLog, turn: int, field: str
) -> Box | None:
    """Return a box from ordered or disordered corners in pixels of the file, or None after an error.

    `given` is what the file holds, for messages.
    """
    x1, y1, x2, y2 = corners
    if x2 < x1 or y2 < y1:
        side = "x2 < x1" if x2 < x1 else "y2 < y1"
        log.refuse(
            "box.swapped",
            f"box {_show(given)} has {side}.",
            _xyxy_hint(corners, frame),
            turn=turn,
            field=field,
        )
        return None
    if x1 == x2 or y1 == y2:
        message = f"box {_show(given)} has no area."
        remedy = "The far corner is exclusive: the box of one pixel at (x, y) is [x, y, x + 1, y + 1]."
        log.refuse("box.empty", message, remedy, turn=turn, field=field)
        return None
    right, bottom = frame.size_wh or (math.inf, math.inf)
    clamped = max(x1, 0.0), max(y1, 0.0), min(x2, right), min(y2, bottom)
    if clamped[2] <= clamped[0] or clamped[3] <= clamped[1]:
        size = f"{right} x {bottom}" if frame.size_wh else "any"
        message = f"box {_show(given)} lies wholly outside the image of {size} pixels."
        log.refuse("box.outside", message, _outside_hint(frame), turn=turn, field=field)
        return None
    if clamped != (x1, y1, x2, y2):
        message = f"box {_show(given)} reaches out of the image and was clamped to {_show(clamped)}."
        log.note("box.clamped", message, turn=turn, field=field)
    return Box(*clamped)


def _to_pixels(
    numbers: Sequence[float], frame: Frame, *, box_format: BoxFormat, log: FaultLog, turn: int, field: str
) -> tuple[float, ...] | None:
    if box_format in _NORMALISED_SIDE:
        side = _NORMALISED_SIDE[box_format]
        if frame.size_wh is None:
            message = f"box {_show(numbers)} is normalised, but the image's size is unknown."
            remedy = "Add image_w and image_h to the record, or let the images be checked."
            log.refuse("box.size_unknown", message, remedy, turn=turn, field=field)
            return None
        if max(numbers) > 2 * side:
            message = f"box {_show(numbers)} has numbers far above {side:g}, but box_format is {box_format}."
            remedy = "It looks like pixels; set box_format: xyxy."
            log.refuse("box.normalised", message, remedy, turn=turn, field=field)
            return None
        return tuple(number * frame.size_wh[axis % 2] / side for axis, number in enumerate(numbers))
    if not _check_pixels(numbers, box_format=box_format, log=log, turn=turn, field=field):
        return None
    x1, y1, x2, y2 = numbers
    if box_format == "xywh":
        if x2 < 0 or y2 < 0:
            message = f"box {_show(numbers)} has a negative width or height."
            log.refuse("box.swapped", message, "Boxes are declared [x, y, w, h].", turn=turn, field=field)
            return None
        x2, y2 = x1 + x2, y1 + y2
    scale_x, scale_y = frame.scale_xy
    return x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y


def _check_pixels(
    numbers: Sequence[float], *, box_format: BoxFormat, log: FaultLog, turn: int, field: str
) -> bool:
    """Return False after an error: numbers declared pixels that look like fractions of a side."""
    if min(numbers) < 0 or max(numbers) > SLACK:
        return True
    given = _show(numbers)
    if any(not number.is_integer() for number in numbers):
        message = f"box {given} looks normalised 0..1, but box_format is {box_format}."
        remedy = "Set box_format: norm1 if it is ([x1, y1, x2, y2] in 0..1); otherwise give pixels."
        log.refuse("box.normalised", message, remedy, turn=turn, field=field)
        return False
    message = f"box {given} is one pixel, or normalised 0..1; it is taken as pixels."
    log.note("box.one_pixel", message, "Set box_format: norm1 if it is.", turn=turn, field=field)
    return True


def _xyxy_hint(corners: Sequence[float], frame: Frame) -> str:
    x, y, w, h = corners
    hint = "Boxes are [x1, y1, x2, y2] in pixels"
    as_xyxy = (x, y, x + w, y + h)
    right, bottom = frame.size_wh or (math.inf, math.inf)
    if w > 0 and h > 0 and as_xyxy[2] <= right and as_xyxy[3] <= bottom:
        return f"{hint}; if yours are [x, y, w, h], set box_format: xywh ({_show(as_xyxy)} for this one)."
    ordered = min(x, w), min(y, h), max(x, w), max(y, h)
    return f"{hint}, the upper left corner first ({_show(ordered)} for this one)."


def _outside_hint(frame: Frame) -> str:
    if frame.is_turned():
        return "The file has an EXIF rotation (EXIF?): boxes belong to the picture as shown."
    return "Boxes are in pixels of the image as shown; check its size and the order of the numbers."


def _number(entry: object) -> float | None:
    if isinstance(entry, bool) or not isinstance(entry, int | float | str):
        return None
    try:
        return float(entry)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _show(numbers: Sequence[float]) -> str:
    return "[" + ", ".join(f"{number:.10g}" for number in numbers) + "]"


def _clip(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
