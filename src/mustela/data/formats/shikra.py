"""Shikra's JSON lines: a list of boxes, and for each `<boxes>` of a text the numbers of its boxes.

    {"image": "a.jpg", "width": 640, "height": 480, "boxes": [[10, 20, 200, 180]],
     "conversations": [{"from": "human", "value": "Is <boxes> a dog?", "boxes_seq": [[0]]},
                       {"from": "gpt", "value": "Yes.", "boxes_seq": []}]}
    {"img_path": "a.jpg", "boxes": [...], "question": "... <boxes>", "question_boxes_seq": [[0]],
     "answer": "... <boxes>", "answer_boxes_seq": [[1]]}
    {"img_path": "a.jpg", "expression": "the left dog", "bbox": [10, 20, 200, 180]}
    {"img_path": "a.jpg", "boxes": [...], "sentence": "<ph_st>a dog<ph_ed> runs", "boxes_seq": [[0]]}

Boxes are corners in pixels. Boxes may be in a `target`. The last two kinds are annotations: they become a
question where the expression is, and a request for a description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, lacks_image, reader, turns_of
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_BOXES = "<boxes>"
_POINTS = "<points>"
_PHRASE = re.compile(r"<ph_st>(.*?)<ph_ed>", re.DOTALL)


def _recognise(look: Peek) -> str | None:
    conversation = first_with(look, "conversations")
    if conversation and any("boxes_seq" in turn for turn in turns_of(conversation, "conversations")):
        return "turns with 'boxes_seq', as in Shikra's JSON"
    for keys in (("boxes", "question"), ("boxes", "sentence"), ("expression", "bbox")):
        if first_with(look, "img_path", *keys):
            return f"records with 'img_path', {keys[0]!r} and {keys[1]!r}, as in Shikra's JSON"
    return None


def to_native(value: Mapping[str, Any], _: Source) -> Iterable[Found]:
    """Return the conversation of one record."""
    boxes: Sequence[Any] = value.get("boxes") or (value.get("target") or {}).get("boxes") or []
    if "expression" in value:
        if not isinstance(value["expression"], str) or not value["expression"].strip():
            raise RecordError(
                f"expression is {value['expression']!r}, not a text. Write it or remove the record"
            )
        boxes = [value["bbox"]]
        texts = [("human", f"Where is {value['expression']}?", []), ("gpt", _BOXES, [[0]])]
    elif "conversations" in value:
        texts = [(t["from"], t["value"], t.get("boxes_seq") or []) for t in value["conversations"]]
    elif "question" in value:
        answer = value.get("answer") or value["cot_with_ans"]
        asked = value.get("question_boxes_seq") or value.get("query_boxes_seq") or []
        texts = [("human", value["question"], asked), ("gpt", answer, value.get("answer_boxes_seq") or [])]
    else:
        sentence = _PHRASE.sub(rf"\1 {_BOXES}", value["sentence"])
        texts = [("human", "Describe the image with the places of things.", [])]
        texts.append(("gpt", sentence, value["boxes_seq"]))
    turns, regions = [], []
    for role, text, numbers in texts:
        written, of_turn = _fill(text, numbers, boxes)
        turns.append({"from": role, "value": written})
        regions.append(of_turn)
    image = value.get("image", value.get("img_path"))
    image = image.get("path") if isinstance(image, Mapping) else image
    if image and lacks_image(turns):
        turns[0]["value"] = f"{IMAGE_PLACEHOLDER}\n{turns[0]['value']}"
    native: dict[str, Any] = {"id": value.get("id"), "image": image, "conversations": turns}
    if "width" in value and "height" in value:
        native |= {"image_w": value["width"], "image_h": value["height"]}
    yield Found({**native, "box_x1y1x2y2": regions})


def _fill(text: str, numbers: Sequence[Sequence[int]], boxes: Sequence[Any]) -> tuple[str, list[Any]]:
    if not isinstance(text, str):
        raise RecordError(f"the text of a turn is {text!r}. Write it or remove the record")
    if _POINTS in text:
        raise RecordError(f"{text!r} has {_POINTS}, which can't be read. Write {_BOXES} and boxes_seq")
    parts = text.split(_BOXES)
    if len(parts) - 1 != len(numbers):
        raise RecordError(f"{len(parts) - 1} {_BOXES} in {text!r}, but boxes_seq has {len(numbers)} entries")
    chosen: list[int] = []
    written = parts[0]
    for group, after in zip(numbers, parts[1:], strict=True):
        if not group:
            raise RecordError(f"boxes_seq has an empty list for a {_BOXES} of {text!r}. Name its boxes")
        for number in group:
            if not 0 <= number < len(boxes):
                raise RecordError(f"boxes_seq names box {number}, but there are {len(boxes)}")
            if number not in chosen:
                chosen.append(number)
        written += ", ".join(f"<bbox_location{chosen.index(number)}>" for number in group) + after
    return written, [boxes[number] for number in chosen]


SHIKRA = Format("shikra", "Shikra JSON lines", "conversations", _recognise, reader(to_native))
