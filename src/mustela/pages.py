"""Self-contained HTML pages of templates; everything that comes from data is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import markupsafe

import mustela
from mustela.errors import ConfigError

__all__ = ["render_page", "write_page"]

_INSIDE = {"style": "style.css", "script": "script.js"}


def render_page(folder: Path, name: str, **context: Any) -> str:
    """Return the HTML of a template in `folder`, with the style sheet and script that lie there inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Ours; their quotes must not be escaped.
    inside = {
        key: markupsafe.Markup((folder / file).read_text(encoding="utf-8"))
        for key, file in _INSIDE.items()
        if (folder / file).is_file()
    }
    return environment.get_template(name).render(version=mustela.__version__, **inside, **context)


def write_page(path: str | Path, html: str) -> Path:
    """Write a page as UTF-8 (what can't be encoded becomes "?").

    The old one is replaced when the new one is complete.

    Raises:
        ConfigError: it can't be written.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(html.encode("utf-8", errors="replace"))
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"{target}: the page can't be written: {error.strerror or error}.") from error
    return target
