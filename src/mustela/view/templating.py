"""Filling in the pages of this package; everything that comes from data is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import markupsafe

import mustela
from mustela.errors import ConfigError

_FOLDER = Path(__file__).parent / "page"


def render_page(name: str, **context: Any) -> str:
    """Return the HTML of a template in the package's `page` folder, with style and script inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Ours; their quotes must not be escaped.
    inside = {
        key: markupsafe.Markup((_FOLDER / file).read_text(encoding="utf-8"))
        for key, file in (("style", "style.css"), ("script", "script.js"))
    }
    return environment.get_template(name).render(version=mustela.__version__, **inside, **context)


def write_page(path: str | Path, html: str) -> Path:
    """Write a page as UTF-8 (what can't be encoded becomes "?").

    Raises:
        ConfigError: it can't be written.
    """
    target = Path(path)
    try:
        target.write_bytes(html.encode("utf-8", errors="replace"))
    except OSError as error:
        raise ConfigError(f"{target}: the page can't be written: {error.strerror or error}.") from error
    return target
