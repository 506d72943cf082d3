"""What every request passes: whose it is, what is told about it, and what happens when something breaks."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mustela.serve.errors import ApiError, error_response, internal_error
from mustela.serve.failure import log_failure
from mustela.serve.metrics import Metrics

__all__ = ["Guard"]

# Answered without a key: the page, which asks for it, and what a supervisor looks at.
_OPEN = frozenset({"/", "/healthz", "/readyz"})
_KNOWN = frozenset({"/v1/chat/completions", "/v1/models", "/metrics", "/openapi.json", *_OPEN})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI layer around the application.

    Args:
        app: what is guarded.
        keys: one of them must be sent as a bearer token; none: no key is asked for.
        hosts: names by which the server may be called; None: any. On a machine's own address this keeps out
            pages that make a name of theirs point there.
        metrics: counts requests.
    """

    def __init__(
        self, app: ASGIApp, *, keys: Sequence[str], hosts: Sequence[str] | None, metrics: Metrics
    ) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                self._check(scope)
                await self._app(scope, receive, told)
            except ApiError as error:
                await error_response(error)(scope, receive, told)
            except Exception as error:  # noqa: BLE001
                log_failure(error)
                if status == 0:
                    await error_response(internal_error())(scope, receive, told)
        finally:
            path = scope["path"]
            known = path if path in _KNOWN else "/page" if path.startswith("/page/") else "other"
            self._metrics.request(known, status, time.monotonic() - start)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._hosts is not None and _host_name(headers.get("host", "")) not in self._hosts:
            raise ApiError(
                421,
                "this server isn't reached by that name; start it with --allowed_hosts to add one.",
                code="wrong_host",
            )
        path = scope["path"]
        if not self._keys or path in _OPEN or path.startswith("/page/"):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        known = [hmac.compare_digest(given.strip().encode(), key) for key in self._keys]
        if kind.lower() != "bearer" or not any(known):
            raise ApiError(401, "the API key is missing or wrong.", code="invalid_api_key")


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    return name.strip("[]").lower().rstrip(".")
