"""Who may come in: how many requests at once, and how large their bodies are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request

from mustela.serve.errors import ApiError
from mustela.serve.limits import Limits, too_many

__all__ = ["Admission"]


class Admission:
    """Counts requests and the bytes of their bodies; used in one event loop.

    Args:
        limits: how many of both.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = 0
        self._bytes = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request while it is worked on.

        Raises:
            ApiError: there are as many as allowed.
        """
        if self._requests >= self._limits.requests:
            raise too_many(f"{self._requests} requests")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def read(self, request: Request) -> bytes:
        """Return the body of a request.

        Raises:
            ApiError: it is too large, too slow, or not JSON.
            ClientDisconnect: the client left meanwhile.
        """
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            # A page elsewhere can make a browser send any other kind without asking first.
            raise ApiError(415, "send JSON, with Content-Type: application/json.", code="unsupported_type")
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > self._limits.body_bytes:
            raise self._too_large()
        content = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.stream():
                    content += chunk
                    self._bytes += len(chunk)
                    if len(content) > self._limits.body_bytes:
                        raise self._too_large()
                    if self._bytes > self._limits.bodies_bytes:
                        raise too_many("large requests")
        except TimeoutError as error:
            raise ApiError(
                408, f"the request took more than {self._limits.body_seconds:g} s to arrive.", code="timeout"
            ) from error
        finally:
            self._bytes -= len(content)
        return bytes(content)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"the request has more than {self._limits.body_bytes} bytes; send smaller pictures.",
            code="request_too_large",
        )
