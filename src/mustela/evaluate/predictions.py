"""Predictions: one line of `predictions.jsonl` each, with all that scoring and looking need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from mustela.constants import COORDINATE_BINS
from mustela.errors import RecordError
from mustela.evaluate.matching import BoxXYXY
from mustela.evaluate.questions import KINDS, Kind, clean_phrase
from mustela.regions import (
    Box,
    Found,
    Frame,
    Region,
    Scale,
    find_regions,
    read_coordinates,
    region_from_json,
    region_to_json,
)


@dataclass(frozen=True)
class Prediction:
    """A question, its reference and the model's answer.

    `image_wh` is the size of the picture that the coordinates belong to (after EXIF rotation), None without a
    picture. Boxes are pixels of it. `scale` says what the numbers in `text` mean: thousandths of the sides
    ("bins"; "bins_yx": y before x), shares of them ("unit"), "pixels" or location "tokens". With a `frame`
    they are pixels of the picture as the model sees it.
    """

    question_id: str
    kind: Kind
    picture: str
    image_wh: tuple[int, int] | None
    question: str
    question_regions: tuple[Region, ...]
    reference: str
    reference_boxes: tuple[BoxXYXY, ...]
    reference_phrases: tuple[str, ...]
    text: str
    scale: Scale = "bins"
    frame: Frame | None = None

    def found(self) -> Found:
        """Return the regions in the answer, in pixels; see `read`."""
        return self.read(self.text)

    def read(self, text: str) -> Found:
        """Return the regions in a text of this model about this picture, in pixels.

        Raises RecordError when the size of the picture is unknown.
        """
        if self.image_wh is None:
            raise RecordError(
                f"prediction {self.question_id!r}: the size of its picture is missing, so coordinates in "
                f"{self.scale} can't be turned into pixels. Give image_w and image_h in the data file."
            )
        if self.frame is not None:
            return read_coordinates(text, self.image_wh, style="resized", fit=self.frame)
        return find_regions(text, self.image_wh, scale=self.scale)

    def boxes(self) -> list[tuple[BoxXYXY, str]]:
        """Return the boxes of the answer with their normalised phrases.

        Exact repeats of a box are dropped.
        """
        boxes: dict[BoxXYXY, str] = {}
        for item in self.found().regions:
            if isinstance(item.region, Box):
                boxes.setdefault(item.region.bounds_xyxy(), clean_phrase(item.phrase))
        return list(boxes.items())


def to_line(prediction: Prediction) -> str:
    """Return the JSON line of a prediction, without its newline; boxes both as bins and as pixels."""
    raw: dict[str, Any] = {
        "question_id": prediction.question_id,
        "kind": prediction.kind,
        "picture": prediction.picture,
        "image_wh": prediction.image_wh,
        "question": prediction.question,
        "question_regions": [region_to_json(region) for region in prediction.question_regions],
        "reference": prediction.reference,
        "reference_boxes_xyxy": prediction.reference_boxes,
        "reference_phrases": prediction.reference_phrases,
        "text": prediction.text,
        "scale": prediction.scale,
    }
    if prediction.frame is not None:
        raw["frame"] = asdict(prediction.frame)
    if prediction.image_wh is not None:
        found = prediction.found()
        raw["found"] = [
            {
                "region": region_to_json(item.region),
                "bins": _bins(item.region.bounds_xyxy(), prediction.image_wh),
                "phrase": item.phrase,
                "repaired": item.repaired,
                "note": item.note,
            }
            for item in found.regions
        ]
        raw["rejected"] = [{"span": item.span, "reason": item.reason} for item in found.rejected]
    line = json.dumps(raw, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as broken data has it: only an escape can hold it
        return json.dumps(raw)
    return line


def _bins(bounds_xyxy: BoxXYXY, size_wh: tuple[int, int]) -> list[float]:
    return [round(value * COORDINATE_BINS / size_wh[axis % 2], 3) for axis, value in enumerate(bounds_xyxy)]


def from_line(line: str, *, where: str) -> Prediction:
    """Read one line; `where` names it in the RecordError that a malformed line raises."""
    try:
        raw = json.loads(line)
        kind, scale, size = raw["kind"], raw["scale"], raw["image_wh"]
        if kind not in KINDS or scale not in get_args(Scale):
            raise RecordError(f"{where}: unknown kind {kind!r} or scale {scale!r}.")
        if len(raw["reference_boxes_xyxy"]) != len(raw["reference_phrases"]):
            raise RecordError(f"{where}: reference_boxes_xyxy and reference_phrases differ in length.")
        return Prediction(
            question_id=raw["question_id"],
            kind=kind,
            picture=raw["picture"],
            image_wh=None if size is None else (int(size[0]), int(size[1])),
            question=raw["question"],
            question_regions=tuple(region_from_json(item) for item in raw["question_regions"]),
            reference=raw["reference"],
            reference_boxes=tuple(_box(values) for values in raw["reference_boxes_xyxy"]),
            reference_phrases=tuple(raw["reference_phrases"]),
            text=raw["text"],
            scale=scale,
            frame=_frame(raw["frame"]) if "frame" in raw else None,
        )
    except (KeyError, TypeError, ValueError, IndexError, json.JSONDecodeError) as error:
        raise RecordError(f"{where}: not a prediction ({type(error).__name__}: {error}).") from error


def _frame(raw: dict[str, list[Any]]) -> Frame:
    (width, height), (across, down) = raw["source_wh"], raw["target_wh"]
    (scale_x, scale_y), (shift_x, shift_y) = raw["scale"], raw["shift"]
    return Frame((width, height), (across, down), (scale_x, scale_y), (shift_x, shift_y))


def _box(values: list[float]) -> BoxXYXY:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2


def read_predictions(path: str | os.PathLike[str]) -> dict[str, Prediction]:
    """Return the predictions of a file by question id, in the file's order.

    A last line without its newline is what an interrupted run left behind: it is ignored. A question id that
    comes again keeps its last line. Any other malformed line raises RecordError with its number.
    """
    source = Path(path)
    found: dict[str, Prediction] = {}
    # Not splitlines(): answers may hold U+2028 and other characters that it takes for line ends.
    lines = source.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        if line.strip():
            prediction = from_line(line.decode("utf-8"), where=f"{source}, line {number}")
            found[prediction.question_id] = prediction
    return found


def write_predictions(path: str | os.PathLike[str], predictions: Iterable[Prediction]) -> None:
    """Write a file of predictions; the old one is replaced only when the new one is complete."""
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(to_line(prediction) + "\n" for prediction in predictions)
    partial.replace(target)
