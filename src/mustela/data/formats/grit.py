"""GRIT of Kosmos-2: Parquet with a caption a row and boxes for its phrases.

Columns: `key`, `caption`, `url`, `width`, `height`, `noun_chunks` and `ref_exps`, lists of
`[start, end, x1, y1, x2, y2, score]`: characters of the caption, corners as shares of the sides. The longer
`ref_exps` are taken where there are some. A picture is `KEY.jpg`, as `img2dataset` names what it fetches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mustela.data.formats.peek import Peek
from mustela.data.formats.records import convert
from mustela.data.formats.scene import Caption, Scene, Thing, box_region
from mustela.data.formats.source import Format, Found, Source
from mustela.data.formats.tables import table_rows
from mustela.errors import RecordError


def _recognise(look: Peek) -> str | None:
    for each in look.of("parquet", "arrow"):
        if {"caption", "noun_chunks", "ref_exps"} <= set(each.columns):
            return "a table with the columns caption, noun_chunks and ref_exps, as in GRIT of Kosmos-2"
    return None


def read(source: Source) -> Iterator[Found]:
    """Yield a scene for each row."""
    for file, number, row in table_rows(source.path):
        yield from convert(row, lambda row, _: [Found(_scene(row))], source, file=file, line=number)


def _scene(row: Mapping[str, Any]) -> Scene:
    width, height = int(row["width"]), int(row["height"])
    text = row["caption"]
    if not isinstance(text, str):
        raise RecordError(f"caption is {text!r}, not a text. Write it or remove the row")
    chunks = _chunks(row["ref_exps"]) or _chunks(row["noun_chunks"])
    regions: list[Mapping[str, Any]] = []
    phrases: dict[str, list[Mapping[str, Any]]] = {}
    written, end_before = "", 0
    for start, end in sorted({(int(chunk[0]), int(chunk[1])) for chunk in chunks}):
        if not 0 <= start < end <= len(text):
            raise RecordError(
                f"ref_exps or noun_chunks name the characters {start} to {end}, but the caption has"
                f" {len(text)}. Correct them"
            )
        if start < end_before:
            continue  # phrases inside phrases
        places = []
        for chunk in (chunk for chunk in chunks if (int(chunk[0]), int(chunk[1])) == (start, end)):
            x1, y1, x2, y2 = (float(value) for value in chunk[2:6])
            box = box_region(x1 * width, y1 * height, x2 * width, y2 * height)
            places.append(f" <bbox_location{len(regions)}>")
            regions.append(box)
            phrases.setdefault(text[start:end], []).append(box)
        written += text[end_before:end] + "".join(places)
        end_before = end
    things = [Thing("", boxes[0], phrases=(phrase,)) for phrase, boxes in phrases.items() if len(boxes) == 1]
    key = row["id"] if row.get("key") in (None, "") else row["key"]
    return Scene(
        str(key),
        f"{key}.jpg",
        (width, height),
        tuple(things),
        (Caption(written + text[end_before:], tuple(regions)),),
        exhaustive=False,
        complete=False,
    )


def _chunks(value: Any) -> list[list[float]]:
    return json.loads(value) if isinstance(value, str) else list(value or [])


GRIT = Format("grit", "GRIT of Kosmos-2 (Parquet)", "annotations", _recognise, read, folders=True)
