"""Filling in the report's pages; everything that comes from data is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import markupsafe

import mustela

_FOLDER = Path(__file__).parent / "page"


def render_page(name: str, **context: Any) -> str:
    """Return the HTML of a template in the package's `page` folder, with the style sheet inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    # The style sheet is ours; its quotes must not be escaped.
    return environment.get_template(name).render(
        style=markupsafe.Markup(style), version=mustela.__version__, **context
    )


def write_page(path: str | Path, html: str) -> Path:
    """Write a page as UTF-8 (what can't be encoded becomes "?").

    The old one is replaced when the new one is complete.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(html.encode("utf-8", errors="replace"))
    partial.replace(target)
    return target
