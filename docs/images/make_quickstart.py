"""Make the picture of the README from an evaluation's predictions.

mustela evaluate shapes-base --data data/shapes/val.json --image_folder data/shapes/images --out runs/base
python docs/images/make_quickstart.py runs/base data/shapes/images docs/images/quickstart.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mustela.evaluate import draw_prediction, read_predictions
from mustela.regions import load_image

CELL_WH = (330, 300)
KINDS = ("referring", "grounding", "referring", "grounding", "presence", "referring", "detection", "relation")


def caption(draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], *, width: int, fill: str) -> int:
    """Write wrapped text and return where the next line begins."""
    font = ImageFont.load_default(15)
    line, y = "", at[1]
    for word in [*text.split(), ""]:
        if not word or draw.textlength(f"{line} {word}", font=font) > width:
            draw.text((at[0], y), line, font=font, fill=fill)
            y += 20
            line = word
        else:
            line = f"{line} {word}".strip()
    return y


def main(run: Path, images: Path, out: Path) -> None:
    """Draw one answer of each kind, from different pictures, in two rows of four."""
    predictions = list(read_predictions(run / "predictions.jsonl").values())
    used: set[str] = set()
    chosen = []
    for kind in KINDS:
        found = next(
            p for p in predictions if p.kind == kind and p.picture not in used and 2 < len(p.text) < 90
        )
        used.add(found.picture)
        chosen.append(found)
    sheet = Image.new("RGB", (4 * CELL_WH[0], 2 * CELL_WH[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for number, prediction in enumerate(chosen):
        left, top = number % 4 * CELL_WH[0] + 12, number // 4 * CELL_WH[1] + 12
        picture = draw_prediction(prediction, load_image(images / prediction.picture))
        picture.thumbnail((CELL_WH[0] - 24, CELL_WH[1] - 100))
        sheet.paste(picture, (left, top))
        y = caption(
            draw, prediction.question, (left, top + picture.height + 6), width=CELL_WH[0] - 24, fill="#555"
        )
        caption(draw, prediction.text, (left, y), width=CELL_WH[0] - 24, fill="#000")
    sheet.save(out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
