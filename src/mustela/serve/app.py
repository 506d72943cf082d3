"""The application: its routes, and what they look like to OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import Route

import mustela
from mustela.serve.completion import Completion, Model, ModelList, model_list
from mustela.serve.endpoint import ChatEndpoint
from mustela.serve.errors import ApiError, ErrorBody, error_response, internal_error, no_such_model
from mustela.serve.guard import Guard
from mustela.serve.metrics import CONTENT_TYPE_LATEST
from mustela.serve.schema import ChatRequest
from mustela.serve.service import Service
from mustela.serve.site import page_routes

__all__ = ["make_app"]

CHAT = "/v1/chat/completions"
_STATUSES = (400, 401, 404, 408, 413, 415, 421, 429, 500, 503, 504)
# A server-sent event of a streamed answer.
_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "description": "A chunk of the answer as JSON, or [DONE]."}},
    "required": ["data"],
}


def make_app(service: Service, *, keys: Sequence[str] = (), hosts: Sequence[str] | None = None) -> Guard:
    """Return the ASGI application of a server.

    Args:
        service: what answers.
        keys: see `Guard`.
        hosts: see `Guard`.
    """
    # The pages that FastAPI makes of the description load from elsewhere.
    app = FastAPI(title="mustela", version=mustela.__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(ApiError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_by_status)
    app.add_exception_handler(Exception, _admit_a_mistake)

    @app.get("/v1/models", responses=_error_responses(401, 421, 503))
    async def models() -> ModelList:
        """List the model."""
        service.chat  # noqa: B018
        return model_list(service.name, created=service.created)

    @app.get("/v1/models/{name:path}", responses=_error_responses(401, 404, 421, 503))
    async def model(name: str) -> Model:
        """Tell of the model."""
        service.chat  # noqa: B018
        if name != service.name:
            raise no_such_model(service.name)
        return model_list(service.name, created=service.created).data[0]

    @app.get("/healthz")
    async def health() -> Response:
        """Tell whether the process lives."""
        return JSONResponse({"status": service.state}, 500 if service.state == "stopped" else 200)

    @app.get("/readyz", responses={503: {"description": "Not yet, or no more."}})
    async def readiness() -> Response:
        """Tell whether requests can be answered."""
        return JSONResponse({"status": service.state}, 200 if service.state == "ready" else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    app.router.routes.append(Route(CHAT, ChatEndpoint(service), methods=["POST"]))
    app.include_router(page_routes())
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return Guard(app, keys=keys, hosts=hosts, metrics=service.metrics)


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return error_response(error)


async def _refuse_by_status(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return error_response(ApiError(error.status_code, error.detail.lower() + "."), error.headers)


async def _admit_a_mistake(request: Request, error: Exception) -> Response:
    # It is raised once more behind this, and logged by the guard.
    return error_response(internal_error())


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the chat endpoint, which reads its bodies itself."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        template = "#/components/schemas/{model}"
        _, models = models_json_schema(
            [(ChatRequest, "validation"), (Completion, "serialization"), (ErrorBody, "serialization")],
            ref_template=template,
        )
        schema.setdefault("components", {}).setdefault("schemas", {}).update(models["$defs"])
        schema["paths"][CHAT] = {
            "post": {
                "summary": "Answer a conversation about pictures and regions of them.",
                "operationId": "chat_completions",
                "requestBody": {"required": True, "content": _json_of("ChatRequest")},
                "responses": {
                    "200": {
                        "description": "The answers.",
                        "content": {
                            **_json_of("Completion"),
                            "text/event-stream": {"schema": _EVENT},
                        },
                    },
                    **{
                        str(status): {"description": "The reason.", "content": _json_of("ErrorBody")}
                        for status in _STATUSES
                    },
                },
            }
        }
        app.openapi_schema = schema
    return app.openapi_schema


def _json_of(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def _error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in statuses}
