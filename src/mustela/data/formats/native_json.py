"""Ferret's JSON, which is mustela's own form, and LLaVA's, which is the same without regions.

    {"id": "a1", "image": "a.jpg", "image_w": 640, "image_h": 480,
     "conversations": [{"from": "human", "value": "<image>\\nWhat is <bbox_location0>?"},
                       {"from": "gpt", "value": "a dog"}],
     "box_x1y1x2y2": [[[10, 20, 200, 180]], []]}

`mustela.data.native` describes all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from mustela.data.formats.peek import Peek
from mustela.data.formats.records import first_with, turns_of
from mustela.data.formats.source import Format, Found, Source
from mustela.data.json_stream import stream_json

_REGIONS = ("box_x1y1x2y2", "regions", "masks")


def _is_native(look: Peek) -> bool:
    record = first_with(look, "conversations")
    return record is not None and any("from" in turn for turn in turns_of(record, "conversations"))


def _recognise_ferret(look: Peek) -> str | None:
    if _is_native(look) and any(first_with(look, "conversations", key) is not None for key in _REGIONS):
        return "records with 'conversations' and the regions of their turns, as in Ferret's JSON"
    return None


def _recognise_llava(look: Peek) -> str | None:
    return "records with 'conversations' and no regions, as in LLaVA's JSON" if _is_native(look) else None


def read(source: Source) -> Iterator[Found]:
    """Yield the values as they are."""
    file = str(source.path)
    for item in stream_json(source.path):
        yield Found(item.value, file, item.line, item.fault, item.last)


FERRET = Format("ferret", "Ferret JSON", "conversations", _recognise_ferret, read)
LLAVA = Format("llava", "LLaVA JSON", "conversations", _recognise_llava, read)
