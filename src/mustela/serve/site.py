"""The files of the page, from memory."""

from __future__ import annotations

import hashlib
from mimetypes import guess_type
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from mustela.serve.errors import ApiError

__all__ = ["POLICY", "page_routes"]

FOLDER = Path(__file__).parent / "page"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
"""Nothing comes from elsewhere, nothing inside the page's text is run, and no other page may frame it."""

# What the system's own table may lack or have otherwise.
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}


def page_routes() -> APIRouter:
    """Return the routes of the page."""
    files = {
        path.relative_to(FOLDER).as_posix(): (path.read_bytes(), _type(path))
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file()
    }
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:20]}"' for name, (content, _) in files.items()}
    router = APIRouter(include_in_schema=False)

    def respond(name: str, request: Request) -> Response:
        if name not in files:
            raise ApiError(404, "there is no such page.", code="not_found")
        content, kind = files[name]
        # Kept, but asked for each time, so that a new version is seen at once.
        headers = {"etag": tags[name], "cache-control": "no-cache", "content-security-policy": POLICY}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return respond("index.html", request)

    @router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        return respond(name, request)

    return router


def _type(path: Path) -> str:
    return _TYPES.get(path.suffix) or guess_type(path)[0] or "application/octet-stream"
