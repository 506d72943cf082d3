"""Answers as HTML, for notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from mustela.regions import FoundRegion

__all__ = ["answer_html", "picture_html"]

_LARGEST_WH = (640, 480)


def picture_html(image: Image.Image, *, alt: str) -> str:
    """Return an `img` element that holds the picture, made smaller if it is large."""
    shown = image.copy()
    shown.thumbnail(_LARGEST_WH)
    buffer = io.BytesIO()
    shown.save(buffer, "png")
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{content}" alt="{escape(alt)}">'


def answer_html(
    question: str, text: str, regions: Sequence[FoundRegion], drawn: Image.Image | None, *, color: str
) -> str:
    """Return question, answer and picture; what was typed or said is shown as it is, never read as HTML.

    Args:
        question: as it was asked.
        text: the answer.
        regions: found in the answer; their coordinates get the colour that the boxes have.
        drawn: the picture with question's and answer's regions.
        color: of the boxes, in CSS.
    """
    pieces, end = [], 0
    for found in sorted(regions, key=lambda item: item.span):
        start = max(found.span[0], end)
        pieces.append(escape(text[end:start]))
        pieces.append(f'<span style="color: {color}">{escape(text[start : found.span[1]])}</span>')
        end = max(end, found.span[1])
    pieces.append(escape(text[end:]))
    picture = "" if drawn is None else f"<div>{picture_html(drawn, alt='picture with regions')}</div>"
    said = "".join(pieces).replace("\n", "<br>")
    return f"<div>{picture}<p><i>{escape(question)}</i></p><p>{said}</p></div>"
