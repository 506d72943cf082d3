"""What a client is told when a request can't be answered, in the form of OpenAI's errors."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse
from pydantic import BaseModel

__all__ = [
    "ApiError",
    "ErrorBody",
    "error_body",
    "error_response",
    "internal_error",
    "no_such_model",
    "refused",
    "too_late",
]

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


# A message may quote a request; nobody reads more of it.
_LONGEST = 600


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The JSON of an error."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that gets an HTTP status and a reason instead of an answer.

    Attributes:
        status: HTTP status.
        message: what is wrong and the remedy, in one line.
        code: a short name for programs.
        param: the field of the request, if it is one.
        retry_after: seconds after which another try may succeed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after


def refused(message: str, *, code: str = "invalid_value", param: str | None = None) -> ApiError:
    """The error of a request that is wrong in itself."""
    return ApiError(400, message, code=code, param=param)


def no_such_model(served: str) -> ApiError:
    """The error of a request to another model than the one that is served."""
    return ApiError(
        404, f"there is no model of that name, only {served!r}.", code="model_not_found", param="model"
    )


def internal_error() -> ApiError:
    """The error of a request that found a defect."""
    return ApiError(500, "the server made a mistake; its log says where.", code="internal_error")


def too_late() -> ApiError:
    """The error of a request whose time is over."""
    return ApiError(504, "the answer was not ready in time; try a shorter max_tokens.", code="timeout")


def error_body(error: ApiError) -> Mapping[str, object]:
    """Return the JSON of an error."""
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    # Lone surrogates can't be encoded.
    message = error.message.encode("utf-8", errors="replace").decode("utf-8")
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST - 3]}..."
    return {"error": {"message": message, "type": kind, "param": error.param, "code": error.code}}


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the HTTP response of an error, with further headers."""
    all_headers = dict(headers or {})
    if error.status == 401:
        all_headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None:
        all_headers["retry-after"] = str(error.retry_after)
    return JSONResponse(error_body(error), status_code=error.status, headers=all_headers)
