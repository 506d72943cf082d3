"""Draw the first pictures of a shapes file with their marks, questions and answers, to look at them.

python tests/data/shapes/contact_sheet.py FOLDER/val_freeform.json sheet.png [COUNT]
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

CELL_WH = (400, 470)
SCALE = 1.5
ASKED, ANSWERED = (255, 0, 200), (0, 160, 255)


def draw_region(picture: Image.Image, region: dict[str, Any], ink: tuple[int, int, int]) -> None:
    """Draw one region of the native format on an enlarged picture."""
    pen = ImageDraw.Draw(picture)
    if region["type"] == "box":
        pen.rectangle([side * SCALE for side in region["xyxy"]], outline=ink, width=2)
    elif region["type"] == "point":
        x, y = (side * SCALE for side in region["xy"])
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=ink, outline="white")
    elif region["type"] == "scribble":
        points = [(x * SCALE, y * SCALE) for x, y in region["points"]]
        pen.line(points, fill=ink, width=round(region["width"] * SCALE), joint="curve")
    elif region["type"] == "polygon":
        for ring in region["rings"]:
            pen.polygon([side * SCALE for side in ring], outline=ink, width=2)
    else:
        pixels = coco_mask.decode(region).astype(bool)
        veil = Image.fromarray((pixels * 190).astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)
        picture.paste(Image.new("RGB", picture.size, ink), mask=veil)


def cell(record: dict[str, Any], images: Path) -> Image.Image:
    """One record: the marked picture above its conversation."""
    with Image.open(images / record["image"]) as opened:
        picture = opened.convert("RGB")
    picture = picture.resize((round(picture.width * SCALE), round(picture.height * SCALE)))
    turns = record.get("regions") or [
        [{"type": "box", "xyxy": box} for box in boxes] for boxes in record["box_x1y1x2y2"]
    ]
    for number, regions in enumerate(turns):
        for region in regions:
            draw_region(picture, region, ANSWERED if number % 2 else ASKED)
    sheet = Image.new("RGB", CELL_WH, "white")
    sheet.paste(picture)
    lines = [
        line
        for turn in record["conversations"]
        for line in textwrap.wrap(turn["value"].replace("<bbox_location", "<"), 62)
    ]
    ImageDraw.Draw(sheet).text((2, picture.height + 4), "\n".join(lines), fill="black")
    return sheet


def main(file: str, out: str, count: int = 12) -> None:
    """Write the sheet."""
    path = Path(file)
    records = json.loads(path.read_text(encoding="utf-8"))[:count]
    columns = 4
    sheet = Image.new("RGB", (columns * CELL_WH[0], -(-len(records) // columns) * CELL_WH[1]), "white")
    for number, record in enumerate(records):
        place = (number % columns * CELL_WH[0], number // columns * CELL_WH[1])
        sheet.paste(cell(record, path.parent / "images"), place)
    sheet.save(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12)
