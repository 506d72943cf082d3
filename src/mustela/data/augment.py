"""Augmentation that carries regions with the picture: mirror images, turns, crops, sizes, colour."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.augment_geometry import cropped, mirrored, quarter_turned, scaled, visible_share
from mustela.data.record import Record, Turn
from mustela.errors import ConfigError

# Words whose truth a mirror image changes, and which aren't exchanged: turning round, points of the compass,
# clock faces, and left and right in other languages.
_MIRRORED = (
    r"\b(?:(?:counter-?|anti-?)?clockwise|left[\s-]?over\w*|[lr]hs|(?:east|west)\w*|o\s?['\u2019]?\s?clock"
    r"|gauches?|droite?s?|links|(?:link|recht)e[rnsm]?|(?:link|recht)erkant|rechts|izquierd\w*|derech\w*|sinistr[aoei]"
    r"|destr[aoei]|esquerd\w*|direit\w*|слева|справа|влево|вправо|налево|направо"
    r"|(?:лев|прав)(?:ый|ая|ое|ые|ого|ому|ой|ую|ым|ых|ыми|ее|ом|ей))\b"  # noqa: RUF001
    r"|时针|時計回り|ひだり|みぎ|왼|오른|يسار|يمين"
)
# Words whose truth a mirror image or a turn changes.
_DIRECTIONS = re.compile(
    r"\b(?:left\w*|right\w*|above|below|top(?:most)?|bottom(?:most)?|upper(?:most)?|upwards?|lower(?:most)?|lowest"
    r"|highest|downwards?|beneath|under\w*|over(?:head)?|horizontal\w*|vertical\w*|counter\w*|(?:north|south)\w*"
    r"|haute?s?|dessus|dessous|oben|unten|arriba|abajo|acima|abaixo|сверху|снизу|вверху|внизу|вверх|вниз)\b"
    rf"|[左右上下]|{_MIRRORED}",
    re.IGNORECASE,
)
# Coordinates that are written out and don't move with the picture: lists of numbers in brackets, and tokens.
_NUMBER = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_COORDINATES = re.compile(
    rf"[\[(<{{]\s*{_NUMBER}(?:(?:\s*[,;]\s*|\s+){_NUMBER})+\s*[\])>}}]"
    rf"|<(?:box|bbox|quad|point|loc_?\d+|patch_index_\d+)>|<\|(?:box|quad|point)_start\|>|\b[xy](?:[12]|min|max)?[\"']?\s*[:=]\s*{_NUMBER}",
    re.IGNORECASE,
)

# Where left and right are directions for sure. Elsewhere they may be anything ("left the room", "right now").
_SIDE = r"(?:left|right)"
_OWNER = r"(?:the|an?|its|his|her|their|your|my|our|each|every)"
_WHICH = r"(?:far|top|bottom|upper|lower|front|back|rear|middle|cent(?:er|re)|extreme|very)"
_PLACE = r"(?:sides?|corners?|edges?|hal(?:f|ves)|parts?|portions?|ends?|borders?|margins?|thirds?|quarters?)"
# What makes a direction of the bare word, unless it goes on like "turn right away" or "top right now".
_NO_MORE = (
    r"(?!-|\s+(?:now|away|before|after|here|there|next|behind|beside|above|below|at|in|on|by|over|up|down|under"
    r"|through|around|along|across|near|between|back|for|to|into|the|an?|its|his|her|their|it|him|them)\b)"
)
_DIRECTED = re.compile(
    rf"\b{_SIDE}(?:-?most|wards?|[\s-]?hand(?=\s+{_PLACE}\b)|-hand)\b"
    rf"|\b{_SIDE}[\s-](?:to|and|or)[\s-]{_SIDE}\b(?!-)"
    rf"|\b{_SIDE}(?:\s+of|[\s-]{_PLACE})\b"
    rf"|\b{_OWNER}\s+(?:{_WHICH}[\s-]+)?{_SIDE}(?:\s+(?:and|or)\s+{_SIDE})?\b(?!-|['\u2019])"
    rf"|\b(?:{_WHICH}[\s-]+|(?:from|facing|faces|turn(?:s|ed|ing)?|heading|towards?)\s+){_SIDE}\b{_NO_MORE}"
    r"|左右|右左|[最向往朝靠偏][左右]|[左右](?=[边邊侧側面方手上下端角半の側にからをへ])",
    re.IGNORECASE,
)
# What looks like one of those and is none.
_UNSURE = re.compile(
    r"\b(?:what(?:['\u2019]s|\s+is|\s+was)?|nothing|little|much|none|all)\s+left\s+of\b|\bleft\s+of\s+(?:his|her|its)\s+own"
    r"|\bright\s+of\s+way\b|\bright\s+side\s+up\b|\bright\s+to\s+(?!(?:the|its|his|her|their|your|left)\b)"
    r"|\bright[\s-]+(?:angled?s?|answers?|choices?|options?|ways?|times?|place|order|moment|things?|size|words?"
    r"|person|people|tools?|tracks?|path|idea|decision|kind|amount|mind|man|triangles?|now|away|here|there|next)\b",
    re.IGNORECASE,
)
_ANY_SIDE = re.compile(r"\b(?:left|right)|[左右]", re.IGNORECASE)
_ONE_SIDE = re.compile(r"left|right|(?<![左右])[左右](?![左右])", re.IGNORECASE)
_TURNING = re.compile(_MIRRORED, re.IGNORECASE)
_OTHER_SIDE = {"left": "right", "right": "left", "左": "右", "右": "左"}

_LEAST_CROP = 0.5
_CROP_TRIES = 8


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a picture and its regions; chances and shares are between 0 and 1.

    Attributes:
        flip: chance of a mirror image (left and right exchanged).
        turn: chance of a quarter turn or a half turn, for pictures without an upright position.
        color: brightness, contrast and saturation change by up to this factor.
        crop: chance to cut out a part with sides of at least half the picture's.
        crop_visible: share of each region that a crop must show; rounds with a region of which less is seen
            are left out.
        scale: sides change by up to this factor.
        flip_words: "refuse" mirrors no record whose text speaks of directions, "swap" exchanges left and
            right in it where they are directions for sure.
    """

    flip: float = 0.0
    turn: float = 0.0
    color: float = 0.0
    crop: float = 0.0
    crop_visible: float = 0.7
    scale: float = 0.0
    flip_words: Literal["refuse", "swap"] = "refuse"

    def __post_init__(self) -> None:
        for name, share in asdict(self).items():
            if isinstance(share, str):
                continue
            if not 0 <= share <= 1:
                raise ConfigError(f"augment_{name} is {share}. It is a share from 0 to 1.")
        if self.scale >= 1:
            raise ConfigError("augment_scale is 1: a picture would vanish. Use a share below 1.")
        if self.flip_words not in ("refuse", "swap"):
            raise ConfigError(f"augment_flip_words is {self.flip_words!r}. Choose 'refuse' or 'swap'.")

    @property
    def changes(self) -> bool:
        """Whether anything may happen at all."""
        return any((self.flip, self.turn, self.color, self.crop, self.scale))


def augment(
    record: Record, images: list[Image.Image], settings: Augmentation, *, rng: np.random.Generator
) -> tuple[Record, list[Image.Image]]:
    """Change a record of one picture and the picture alike.

    Records whose text, that of the system included, speaks of directions are neither turned nor cropped, and
    mirrored only if left and right can be exchanged in the text; records whose text has coordinates written
    out keep the shape of their picture, and records of several pictures or none are left alone. A crop is
    made only where every question or its answer names a region: what else is said of the whole picture might
    become untrue.

    Args:
        record: the record; a new one is returned.
        images: its pictures, RGB.
        settings: what may happen.
        rng: draws it.
    """
    # All draws are made for every record, so that one record's text doesn't change another's draws.
    flip, turn = rng.random() < settings.flip, rng.random() < settings.turn
    quarter = int(rng.integers(1, 4))
    factors = 1 + settings.color * rng.uniform(-1, 1, 3)
    crop, factor = rng.random() < settings.crop, 1 + settings.scale * float(rng.uniform(-1, 1))
    windows = rng.random((_CROP_TRIES, 4))
    if len(images) != 1:
        return record, images
    image = images[0]
    fixed = _mentions(record, _COORDINATES)
    if crop and not fixed:
        record, image = _crop(record, image, settings, windows)
    directed = fixed or _mentions(record, _DIRECTIONS)
    if flip and directed and not fixed and settings.flip_words == "swap":
        swapped = swap_sides(record)
        if swapped is not None:
            moved = mirrored(image)
            record, image = moved.record(swapped), moved.image
    elif flip and not directed:
        moved = mirrored(image)
        record, image = moved.record(record), moved.image
    for _ in range(quarter if turn and not directed else 0):
        moved = quarter_turned(image)
        record, image = moved.record(record), moved.image
    if settings.scale and not fixed:
        moved = scaled(image, factor)
        record, image = moved.record(record), moved.image
    if settings.color:
        for enhancer, strength in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
        ):
            image = enhancer(image).enhance(float(strength))
    return record, [image]


def swap_sides(record: Record) -> Record | None:
    """Return a record in whose text left and right are exchanged; None where one may mean another thing.

    Also None where more than that turns round, and where the system text speaks of sides.
    """
    if _mentions(record, _TURNING) or _ANY_SIDE.search(record.system or ""):
        return None
    if any(
        _UNSURE.search(turn.text) or _ANY_SIDE.search(_DIRECTED.sub(" ", turn.text)) for turn in record.turns
    ):
        return None
    turns = tuple(replace(turn, text=_DIRECTED.sub(_exchanged, turn.text)) for turn in record.turns)
    return replace(record, turns=turns)


def _mentions(record: Record, words: re.Pattern[str]) -> bool:
    return any(words.search(text) for text in (record.system or "", *(turn.text for turn in record.turns)))


def _exchanged(found: re.Match[str]) -> str:
    return _ONE_SIDE.sub(_other, found[0])


def _other(found: re.Match[str]) -> str:
    word = found[0]
    other = _OTHER_SIDE[word.lower()]
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def _crop(
    record: Record, image: Image.Image, settings: Augmentation, windows: np.ndarray
) -> tuple[Record, Image.Image]:
    """Return the first crop that leaves a round; the record itself where there is none."""
    if _mentions(record, _DIRECTIONS):
        return record, image
    rounds = list(zip(record.turns[::2], record.turns[1::2], strict=False))
    if not all(question.regions or answer.regions for question, answer in rounds):
        return record, image
    for draw in windows:
        window = _window(image.size, draw)
        kept = [pair for pair in rounds if _shows(pair, image.size, window, settings.crop_visible)]
        if kept:
            moved = cropped(image, window)
            turns = _with_picture([turn for pair in kept for turn in pair])
            return moved.record(replace(record, turns=turns)), moved.image
    return record, image


def _window(size_wh: tuple[int, int], draw: np.ndarray) -> tuple[int, int, int, int]:
    """Return a window from four numbers in 0..1: its sides, and where it lies."""
    shares = [_LEAST_CROP + (1 - _LEAST_CROP) * float(share) for share in draw[:2]]
    sides = [max(1, round(side * share)) for side, share in zip(size_wh, shares, strict=True)]
    left, top = (int(draw[2 + i] * (size_wh[i] - sides[i] + 1)) for i in range(2))
    left, top = min(left, size_wh[0] - sides[0]), min(top, size_wh[1] - sides[1])
    return left, top, left + sides[0], top + sides[1]


def _shows(
    pair: tuple[Turn, Turn], size_wh: tuple[int, int], window: tuple[int, int, int, int], least: float
) -> bool:
    regions = [each.region for turn in pair for each in turn.regions]
    return all(visible_share(region, size_wh, window) >= max(least, 1e-9) for region in regions)


def _with_picture(turns: list[Turn]) -> tuple[Turn, ...]:
    """Put the picture's place into the first question, if the round that had it was left out."""
    if any(IMAGE_PLACEHOLDER in turn.text for turn in turns if turn.role == "user"):
        return tuple(turns)
    return (replace(turns[0], text=f"{IMAGE_PLACEHOLDER}\n{turns[0].text}"), *turns[1:])
