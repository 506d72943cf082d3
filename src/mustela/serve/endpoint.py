"""The chat endpoint: a request in, its answers out, whole or as a stream of events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from mustela.serve.chat import Answer, Asked, Chat
from mustela.serve.completion import AnswerMessage, AnswerRegion, Choice, Naming, Usage
from mustela.serve.errors import ApiError, error_body, internal_error, no_such_model, refused, too_late
from mustela.serve.failure import log_failure
from mustela.serve.schema import ChatRequest
from mustela.serve.service import Service

__all__ = ["ChatEndpoint"]

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 15.0
"""A stream says that it still lives after so long a silence, for proxies that would end it."""

GRACE_SECONDS = 5.0
"""A client that is slow to take its answer has so long after the time of a request."""


@dataclass(frozen=True)
class ChatEndpoint:
    """An ASGI application that answers requests of `/v1/chat/completions`.

    Attributes:
        service: what answers.
    """

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; its place is taken until the last byte is sent."""
        with self.service.admission.enter():
            deadline = time.monotonic() + self.service.limits.seconds
            response = None
            try:
                async with asyncio.timeout(self.service.limits.seconds + GRACE_SECONDS):
                    response = await self._respond(Request(scope, receive), deadline)
                    await response(scope, receive, send)
            except TimeoutError as error:
                # A response that has begun can only be broken off.
                if response is None:
                    raise too_late() from error

    async def _respond(self, request: Request, deadline: float) -> Response:
        chat = self.service.chat
        try:
            body = await _parse(await self.service.admission.read(request))
            if body.model != self.service.name:
                raise no_such_model(self.service.name)
            asked = await _unless_gone(request, chat.prepare(body))
            if body.stream:
                return StreamingResponse(
                    self._events(chat, body, asked, deadline),
                    media_type="text/event-stream",
                    # nginx would hold pieces back until it has many.
                    headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
                )
            return await _unless_gone(request, self._whole(chat, body, asked, deadline))
        except ClientDisconnect:
            self.service.metrics.cancelled()
            return Response(status_code=499)

    async def _whole(self, chat: Chat, body: ChatRequest, asked: Asked, deadline: float) -> Response:
        answers = chat.begin(body, asked, deadline=deadline)
        try:
            texts = [await _text(chat, answer) for answer in answers]
        finally:
            _cancel(answers)
        choices = [
            Choice(
                index=answer.index,
                message=AnswerMessage(content=text, regions=_regions(chat, text, asked)),
                finish_reason=answer.reason,
            )
            for answer, text in zip(answers, texts, strict=True)
        ]
        completion = Naming(self.service.name).completion(choices, self._usage(asked, answers))
        return JSONResponse(completion.model_dump())

    async def _events(
        self, chat: Chat, body: ChatRequest, asked: Asked, deadline: float
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events: each answer's text as it comes, and what was found in it at its end."""
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        naming = Naming(self.service.name, with_usage=with_usage)
        answers = chat.begin(body, asked, deadline=deadline)
        chunks: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        tasks = [asyncio.create_task(_into(chunks, chat, answer, asked, naming)) for answer in answers]
        ended = False
        try:
            left = len(answers)
            while left:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        chunk = await chunks.get()
                except TimeoutError:
                    yield b": still at it\n\n"
                    continue
                if isinstance(chunk, Exception):
                    ended = True
                    yield _event(error_body(_as_api_error(chunk)))
                    return
                if chunk is None:
                    left -= 1
                else:
                    yield _event(chunk)
            usage = self._usage(asked, answers)
            ended = True
            if with_usage:
                yield _event(naming.last_chunk(usage))
            yield b"data: [DONE]\n\n"
        finally:
            for task in tasks:
                task.cancel()
            _cancel(answers)
            if not ended:
                self.service.metrics.cancelled()

    def _usage(self, asked: Asked, answers: Sequence[Answer]) -> Usage:
        tokens = sum(len(answer.row.tokens) for answer in answers)
        self.service.metrics.tokens(prompt=asked.prompt_tokens, answer=tokens)
        return Usage.of(asked.prompt_tokens, tokens)


async def _into(
    chunks: asyncio.Queue[dict[str, Any] | Exception | None],
    chat: Chat,
    answer: Answer,
    asked: Asked,
    naming: Naming,
) -> None:
    """Put the chunks of an answer into a queue, then None, or what went wrong."""
    try:
        chunks.put_nowait(naming.chunk(answer.index, {"role": "assistant", "content": ""}))
        text = ""
        async for piece in chat.pieces(answer):
            text += piece
            chunks.put_nowait(naming.chunk(answer.index, {"content": piece}))
        regions = [region.model_dump() for region in _regions(chat, text, asked)]
        chunks.put_nowait(naming.chunk(answer.index, {"regions": regions}, answer.reason))
        chunks.put_nowait(None)
    except Exception as error:  # noqa: BLE001
        chunks.put_nowait(error)


async def _text(chat: Chat, answer: Answer) -> str:
    return "".join([piece async for piece in chat.pieces(answer)])


def _regions(chat: Chat, text: str, asked: Asked) -> list[AnswerRegion]:
    return [AnswerRegion.model_validate(region) for region in chat.regions(text, asked)]


def _cancel(answers: Sequence[Answer]) -> None:
    for answer in answers:
        answer.job.cancel()


async def _parse(content: bytes) -> ChatRequest:
    try:
        return await asyncio.to_thread(ChatRequest.model_validate_json, content)
    except ValidationError as error:
        # The input itself stays out of the message.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise refused(
            f"{place}: {said}." if place else f"{said}.", param=str(first["loc"][0]) if first["loc"] else None
        ) from error


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do work while the client is there.

    Raises:
        ClientDisconnect: it has left; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(content: Any) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    log_failure(error)
    return internal_error()
