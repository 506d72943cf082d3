"""Osprey-724K: conversations about numbered regions, or one description a region.

    {"id": "1", "file_name": "a.jpg", "height": 480, "width": 640,
     "annotation": [{"bbox": [x, y, w, h], "segmentation": [[...]]}, ...],
     "conversations": [{"from": "human", "value": "What is <region1> doing?"},
                       {"from": "gpt", "value": "..."}]}
    {..., "description": ["<region1>: A man in a blue shirt ..."]}

`<regionN>` counts from 1. A question without the picture's placeholder gets one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.formats.coco import thing_of
from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, lacks_image, reader
from mustela.data.formats.source import Format, Found, Source
from mustela.errors import RecordError

_REGION = re.compile(r"<region(\d+)>")
_REQUEST = "Describe <region{}> in detail."


def _recognise(look: Peek) -> str | None:
    if first_with(look, "annotation", "conversations") or first_with(look, "annotation", "description"):
        return "records with 'annotation' and conversations or descriptions of regions, as in Osprey-724K"
    return None


def to_native(value: Mapping[str, Any], _: Source) -> Iterable[Found]:
    """Return the conversations of one record: one, or one a described region."""
    size = (int(value["width"]), int(value["height"])) if "width" in value and "height" in value else None
    for number, each in enumerate(value["annotation"], start=1):
        if not isinstance(each, Mapping):
            raise RecordError(f"annotation {number} is {each!r}, not an object with a bbox. Correct it")
    regions = [thing_of(each, "", size).region for each in value["annotation"]]
    native: dict[str, Any] = {"id": value.get("id"), "image": value.get("file_name", value.get("image"))}
    if size is not None:
        native |= {"image_w": size[0], "image_h": size[1]}
    if "conversations" in value:
        yield Found(_with_regions(native, value["conversations"], regions))
        return
    if len(value["description"]) < len(regions):
        raise RecordError(
            f"{len(value['description'])} descriptions of {len(regions)} regions. Give one for each region"
        )
    for number, text in enumerate(value["description"], start=1):
        answer = re.sub(rf"^\s*<region{number}>\s*:\s*", "", text)
        turns = [{"from": "human", "value": _REQUEST.format(number)}, {"from": "gpt", "value": answer}]
        name = None if native["id"] is None else f"{native['id']}-{number}"
        yield Found(_with_regions({**native, "id": name}, turns, regions))


def _with_regions(
    native: dict[str, Any], turns: Sequence[Mapping[str, Any]], regions: list[Mapping[str, Any]]
) -> dict[str, Any]:
    written, of_turns = [], []
    for turn in turns:
        numbers = list(dict.fromkeys(int(number) for number in _REGION.findall(turn["value"])))
        if any(not 1 <= number <= len(regions) for number in numbers):
            raise RecordError(f"the text names region {max(numbers)}, but there are {len(regions)}")

        def place(found: re.Match[str], numbers: list[int] = numbers) -> str:
            return f"<bbox_location{numbers.index(int(found[1]))}>"

        text = _REGION.sub(place, turn["value"])
        written.append({"from": turn["from"], "value": text})
        of_turns.append([regions[number - 1] for number in numbers])
    if lacks_image(written):
        first = next((turn for turn in written if turn["from"] != "system"), None)
        if first is None:
            raise RecordError("conversations have no turn of human or gpt. Add them or remove the record")
        first["value"] = f"{IMAGE_PLACEHOLDER}\n{first['value']}"
    return {**native, "conversations": written, "regions": of_turns}


OSPREY = Format("osprey", "Osprey-724K", "conversations", _recognise, reader(to_native))
