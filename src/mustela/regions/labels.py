"""Labels on pictures: small signs of text that avoid one another and the picture's border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw

from mustela.regions.fonts import Font, font_for

Colour: TypeAlias = tuple[int, int, int]
XYXY: TypeAlias = tuple[float, float, float, float]

_ELLIPSIS = "..."


@dataclass(frozen=True)
class Label:
    """A text with its colour, and the box on the picture that it belongs to."""

    text: str
    colour: Colour
    around: XYXY


def draw_labels(picture: Image.Image, labels: Sequence[Label], *, font_size: int) -> None:
    """Draw labels onto an RGB picture, in place; each where it hides least of what is already labelled."""
    taken: list[XYXY] = []
    regions = [label.around for label in labels]
    for label in labels:
        text = " ".join(label.text.split())
        if text:
            taken.append(_draw_one(picture, label, text, font_size, taken, regions))


def _draw_one(
    picture: Image.Image, label: Label, text: str, font_size: int, taken: list[XYXY], regions: list[XYXY]
) -> XYXY:
    pad = max(2, font_size // 4)
    font, text = font_for(text, font_size)
    draw = ImageDraw.Draw(picture)
    text = _shorten(text, font, picture.width - 2 * pad)
    # The height of a line, not of this text: signs of one picture should be alike.
    _, ascent, _, descent = font.getbbox("Ag|")
    width, height = int(font.getlength(text)) + 2 * pad, int(descent - ascent) + pad
    place = min(
        _candidates(label.around, (width, height), picture.size, gap=max(2, pad // 2)),
        key=lambda box: (
            sum(_overlap(box, other) for other in taken) * 4
            + sum(_overlap(box, other) for other in regions if other != label.around)
            + _overlap(box, label.around) * 0.5
        ),
    )
    radius = min(pad, height // 3)
    draw.rounded_rectangle(_grown(place, 1), radius + 1, fill=(0, 0, 0))
    draw.rounded_rectangle(place, radius, fill=label.colour)
    draw.text((place[0] + pad, place[1] + pad / 2 - ascent), text, font=font, fill=_ink(label.colour))
    return place


def _candidates(
    around: XYXY, size_wh: tuple[int, int], picture_wh: tuple[int, int], *, gap: int
) -> Iterator[XYXY]:
    """Yield places from the best liked to the least: above, below, inside, beside; moved into the picture."""
    x1, y1, x2, y2 = around
    width, height = size_wh
    for x, y in (
        (x1, y1 - height - gap),
        (x1, y2 + gap),
        (x2 - width, y1 - height - gap),
        (x2 - width, y2 + gap),
        (x1 + gap, y1 + gap),
        (x2 + gap, y1),
        (x1 - width - gap, y1),
        (x2 + gap, y2 - height),
        (x1 - width - gap, y2 - height),
        (x1 + gap, y2 - height - gap),
        (x2 - width - gap, y1 + gap),
    ):
        left = min(max(x, 1.0), max(1.0, picture_wh[0] - width - 2.0))
        top = min(max(y, 1.0), max(1.0, picture_wh[1] - height - 2.0))
        yield left, top, left + width, top + height


def _shorten(text: str, font: Font, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + _ELLIPSIS) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + _ELLIPSIS if low else text[:1]


def _overlap(a: XYXY, b: XYXY) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _grown(box: XYXY, by: float) -> XYXY:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _ink(colour: Colour) -> Colour:
    """Black or white, whichever reads better on a colour (luminance weights of ITU-R BT.709)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 140 else (255, 255, 255)
