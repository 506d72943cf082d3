"""Pictures of predictions: which ones to show, and how they are drawn and framed."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mustela.data.image_folder import locate_image
from mustela.errors import MustelaError
from mustela.evaluate.grounding import named_score, question_ious
from mustela.evaluate.metrics import is_right
from mustela.evaluate.overlay import overlay
from mustela.evaluate.predictions import Prediction
from mustela.evaluate.questions import KINDS, Kind
from mustela.regions import Box, Mask, Region, draw_regions, load_image

SHOWN_REGION = (37, 99, 235)
TRUTH = (13, 148, 110)
ANSWERED = (234, 88, 12)
SIDE = 480
_QUALITY = 82
_GOOD = 0.5


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer: words, or coordinates."""

    text: str
    coordinates: bool


@dataclass(frozen=True)
class Card:
    """A framed picture of the report.

    `image` is a data URI, empty when the picture can't be read (see `trouble`). `overlay` is SVG in pixels of
    the original, which is `size_wh` large.
    """

    kind: Kind
    right: bool
    score: str
    image: str
    overlay: str
    size_wh: tuple[int, int]
    trouble: str
    question: str
    reference: tuple[Piece, ...]
    answer: tuple[Piece, ...]
    picture: str
    earlier: tuple[Piece, ...] = ()
    earlier_right: bool = False


def question_score(prediction: Prediction) -> float:
    """Return how good an answer is, 0 to 1.

    The mean IoU of answers with boxes, and where they are to be named no more than the share of right names;
    right or wrong of the others.
    """
    if prediction.kind in ("grounding", "detection"):
        named = named_score(prediction) if prediction.kind == "detection" else 1.0
        return min(_mean_iou(prediction), named)
    return float(is_right(prediction))


def _mean_iou(prediction: Prediction) -> float:
    ious = question_ious(prediction)
    return float(ious.mean()) if len(ious) else 1.0


def _told(prediction: Prediction) -> str:
    """Return what a card says of an answer's boxes."""
    if prediction.kind not in ("grounding", "detection"):
        return ""
    iou = f"IoU {_mean_iou(prediction):.2f}"
    if prediction.kind == "grounding":
        return iou
    size = max(len(prediction.boxes()), len(prediction.reference_boxes))
    return f"{iou}, {round(named_score(prediction) * size)} of {size} named"


def pick(
    predictions: Sequence[Prediction],
    *,
    order: Callable[[Prediction], float],
    keep: Callable[[Prediction], bool] = lambda prediction: True,
    count: int,
    seed: int = 0,
) -> list[Prediction]:
    """Return up to `count` predictions with the lowest `order`, kinds in turn, pictures different where
    possible.

    Ties are broken by a seeded draw, so that it is not always the first pictures of the file.
    """
    drawn = np.random.default_rng(seed).random(len(predictions))
    ranked = sorted(
        (place for place, prediction in enumerate(predictions) if keep(prediction)),
        key=lambda place: (order(predictions[place]), drawn[place]),
    )
    queues = {
        kind: [predictions[place] for place in ranked if predictions[place].kind == kind] for kind in KINDS
    }
    picked: list[Prediction] = []
    pictures: set[str] = set()
    while len(picked) < count and any(queues.values()):
        for queue in queues.values():
            if queue and len(picked) < count:
                place = next((i for i, item in enumerate(queue) if item.picture not in pictures), 0)
                picked.append(queue.pop(place))
                pictures.add(picked[-1].picture)
    return picked


def draw_prediction(prediction: Prediction, image: Image.Image, *, side: int = SIDE) -> Image.Image:
    """Return the picture with the question's regions blue, true boxes green and answered ones orange.

    Small pictures are enlarged; the longer side is at most `side` pixels.
    """
    groups: list[tuple[Sequence[Region], tuple[int, int, int]]] = [
        (prediction.question_regions, SHOWN_REGION),
        ([Box(*box) for box in prediction.reference_boxes], TRUTH),
    ]
    if prediction.image_wh is not None:
        groups.append(([item.region for item in prediction.found().regions], ANSWERED))
    # Only the question tells its regions apart, by number.
    shown = len(prediction.question_regions)
    labels = [str(number) for number in range(1, shown + 1)] if shown > 1 else [""] * shown
    labels += [""] * sum(len(regions) for regions, _ in groups[1:])
    drawn = draw_regions(
        image,
        [region for regions, _ in groups for region in regions],
        labels=labels,
        colors=[color for regions, color in groups for _ in regions],
        min_side=side,
    )
    drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    return drawn


def _plain(prediction: Prediction, image: Image.Image) -> Image.Image:
    """Return the picture, at most `SIDE` pixels a side, with nothing on it but the question's masks."""
    masks = [region for region in prediction.question_regions if isinstance(region, Mask)]
    drawn = draw_regions(image, masks, colors=[SHOWN_REGION] * len(masks), min_side=0)
    drawn.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return drawn


def make_card(
    prediction: Prediction, *, image_folder: str | Path | None, earlier: Prediction | None = None
) -> Card:
    """Return the framed picture of a prediction; one that can't be read leaves a card that says so.

    `earlier` is what another model answered to the same question.
    """
    image, trouble = "", ""
    size_wh = prediction.image_wh or (1, 1)
    try:
        image = _data_uri(
            _plain(prediction, load_image(locate_image(prediction.picture, image_folder or ".")))
        )
    except (MustelaError, OSError) as error:
        trouble = str(error)
    score = question_score(prediction)
    return Card(
        kind=prediction.kind,
        right=score >= _GOOD,
        score=_told(prediction),
        image=image,
        overlay=overlay(prediction),
        size_wh=size_wh,
        trouble=trouble,
        question=prediction.question,
        reference=pieces(prediction.reference, prediction),
        answer=pieces(prediction.text, prediction),
        picture=prediction.picture,
        earlier=pieces(earlier.text, earlier) if earlier is not None else (),
        earlier_right=earlier is not None and question_score(earlier) >= _GOOD,
    )


def pieces(text: str, prediction: Prediction) -> tuple[Piece, ...]:
    """Return a text cut into words and coordinates."""
    if prediction.image_wh is None:
        return (Piece(text, coordinates=False),)
    result: list[Piece] = []
    position = 0
    for item in prediction.read(text).regions:
        start, end = item.span
        if start > position:
            result.append(Piece(text[position:start], coordinates=False))
        result.append(Piece(text[start:end], coordinates=True))
        position = max(position, end)
    if position < len(text):
        result.append(Piece(text[position:], coordinates=False))
    return tuple(result)


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
