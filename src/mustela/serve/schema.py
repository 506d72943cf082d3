"""Requests of the chat endpoint, in OpenAI's form with regions beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["ChatRequest", "ImagePart", "RequestMessage", "TextPart"]

# OpenAI's settings that this server has no other value for, with those that change nothing.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "service_tier": ("auto", "default"),
    "store": (False,),
}
# Labels for the books of a provider; there are none here.
_LABELS = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})
# What OpenAI's client sends back of an answer that is put into the next request as it came.
_OF_ANSWERS = frozenset({"refusal", "annotations", "audio", "function_call", "tool_calls", "regions"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TextPart(_Strict):
    """Text in the content of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Strict):
    """Where a picture is: `data:image/...;base64,...`, or an address that the server may fetch."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high"] = Field(
        default="auto", description="Has no effect: every picture is read as the model was trained."
    )


class ImagePart(_Strict):
    """A picture in the content of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class RequestMessage(_Strict):
    """A turn of the conversation; `<region>` in a user's text stands for one of the request's regions."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_answer_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("role") == "assistant":
            return {name: value for name, value in data.items() if name not in _OF_ANSWERS}
        return data


StopText = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(_Strict):
    """How an answer is streamed."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """A request of `/v1/chat/completions`."""

    model: str
    messages: list[RequestMessage] = Field(min_length=1)
    regions: list[dict[str, Any]] | None = Field(
        default=None,
        description=(
            "One for each <region> in the users' texts, in order, or for <region1>, <region2> ... by number;"
            " in pixels of the picture after its EXIF rotation."
            ' {"type": "point", "xy": [x, y]}, {"type": "box", "xyxy": [x1, y1, x2, y2]},'
            ' {"type": "scribble", "points": [[x, y], ...], "width": w},'
            ' {"type": "polygon", "rings": [[x1, y1, ...], ...]} or'
            ' {"type": "mask", "size": [h, w], "counts": COCO run lengths}.'
            ' "image_index" says in which picture, counted from 0; without it, in the last one before'
            " the placeholder."
        ),
        examples=[[{"type": "box", "xyxy": [10, 20, 200, 180]}]],
    )
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, description="0, greedy, if not given.")
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: StopText | list[StopText] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _neutral_settings(cls, data: Any) -> Any:
        """Take out OpenAI's settings that change nothing; refuse those that would."""
        if not isinstance(data, dict):
            return data
        for name, values in _ONLY.items():
            value = data.get(name)
            if value is not None and not any(
                value == known and type(value) in _like(known) for known in values
            ):
                allowed = " or ".join(map(repr, values))
                raise ValueError(f"{name} can only be {allowed} here; leave it out")
        return {name: value for name, value in data.items() if name not in _ONLY and name not in _LABELS}

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


def _like(known: Any) -> tuple[type, ...]:
    return (int, float) if type(known) is int else (type(known),)
