"""Items as JSON lines (`questions.jsonl`), so that answers can be scored without the benchmark's files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mustela.errors import RecordError
from mustela.evaluate.benchmarks.protocol import Item
from mustela.regions import region_from_json, region_to_json

QUESTIONS = "questions.jsonl"


def item_to_json(item: Item) -> dict[str, Any]:
    """Return an item as JSON values."""
    return {
        "id": item.id,
        "kind": item.kind,
        "picture": item.picture,
        "image_wh": item.image_wh,
        "question": item.question,
        "regions": [region_to_json(region) for region in item.regions],
        "reference": item.reference,
        "boxes_xyxy": item.boxes,
        "phrases": item.phrases,
        "truth": dict(item.truth),
        "groups": dict(item.groups),
    }


def item_from_json(raw: dict[str, Any], *, where: str) -> Item:
    """Return the item of `item_to_json`; a RecordError names `where` it is broken."""
    try:
        size = raw["image_wh"]
        return Item(
            id=raw["id"],
            kind=raw["kind"],
            picture=raw["picture"],
            image_wh=None if size is None else (int(size[0]), int(size[1])),
            question=raw["question"],
            regions=tuple(region_from_json(value) for value in raw["regions"]),
            reference=raw["reference"],
            boxes=tuple((box[0], box[1], box[2], box[3]) for box in raw["boxes_xyxy"]),
            phrases=tuple(raw["phrases"]),
            truth=raw["truth"],
            groups=raw["groups"],
        )
    except (KeyError, TypeError, IndexError) as error:
        raise RecordError(f"{where}: not a benchmark's question ({error!r}).") from error


def write_items(path: Path, items: Sequence[Item]) -> None:
    """Write items, one a line; the old file is replaced when the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(item_to_json(item)) + "\n" for item in items)
    partial.replace(path)


def read_items(path: Path) -> list[Item]:
    """Return the items of a file of `write_items`."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                raw = json.loads(line)
            except ValueError as error:
                raise RecordError(f"{where}: not JSON: {error}.") from error
            found.append(item_from_json(raw, where=where))
    return found


def items_fingerprint(items: Sequence[Item]) -> str:
    """Return a name of the items: all that is asked and true, in order."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item_to_json(item), sort_keys=True).encode())
    return digest.hexdigest()[:16]
