"""A page of records served on this machine, for sets that are too large for one file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from mustela.data.check import CheckOptions
from mustela.errors import ConfigError
from mustela.view.index import RecordIndex, Wanted
from mustela.view.records import Browsing, records_page

__all__ = ["make_server"]

_HOST = "127.0.0.1"
_A_PAGE = 24


@dataclass(frozen=True)
class _Shown:
    """What a server shows."""

    index: RecordIndex
    title: str
    folder: str | Path | None
    reading: str
    options: CheckOptions


def make_server(
    index: RecordIndex,
    *,
    title: str,
    folder: str | Path | None,
    reading: str = "",
    options: CheckOptions | None = None,
    port: int = 0,
) -> ThreadingHTTPServer:
    """Return a server of pages of records, for this machine only; `serve_forever` starts it.

    Args:
        index: the records.
        title: what they are, such as the file's name.
        folder: where their pictures lie; None shows none.
        reading: the sentence on what the file is read as.
        options: which paths of pictures are allowed.
        port: 0 takes a free one; `server_port` says which.

    Raises:
        ConfigError: the port is taken or not allowed.
    """
    shown = _Shown(index, title, folder, reading, options or CheckOptions())

    class Handler(_Handler):
        records = shown

    try:
        return ThreadingHTTPServer((_HOST, port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--port {port}: {reason}. Choose another, or 0 for a free one.") from error


class _Handler(BaseHTTPRequestHandler):
    """Answers requests for `/` with the filters in the query, and nothing else."""

    records: _Shown

    def do_GET(self) -> None:
        """Send a page."""
        address = urlsplit(self.path)
        # A page elsewhere can let a browser ask this server under another name; it must not read the data.
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if address.path != "/" or host not in (_HOST, "localhost"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        content = _page(self.records, query).encode("utf-8", errors="replace")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""


def _page(shown: _Shown, query: Mapping[str, str]) -> str:
    most = query.get("most", "")
    wanted = Wanted(
        text=query.get("text", ""),
        answer=query.get("class", ""),
        fault=query.get("fault", ""),
        least=_number(query.get("least", "")),
        most=_number(most) if most else None,
    )
    start = _number(query.get("start", ""))
    numbers, rest = shown.index.search(wanted, start=start, limit=_A_PAGE)
    filters = {name: value for name, value in query.items() if name != "start" and value}
    browsing = Browsing(
        wanted=query,
        start=start,
        seen=rest,
        first=f"?{urlencode(filters)}" if start else "",
        more=f"?{urlencode({**filters, 'start': rest})}" if rest < len(shown.index) else "",
        kinds=sorted(shown.index.kinds.items()),
        answers=shown.index.answers.most_common(40),
        longest=shown.index.longest,
        faulty=shown.index.faulty,
    )
    return records_page(
        [shown.index[number] for number in numbers],
        title=shown.title,
        folder=shown.folder,
        total=len(shown.index),
        reading=shown.reading,
        options=shown.options,
        browsing=browsing,
    )


def _number(text: str) -> int:
    """Return a whole number from 0; 0 for what is none."""
    try:
        value = float(text)
    except ValueError:
        return 0
    return int(min(value, 2**53)) if math.isfinite(value) and value > 0 else 0
