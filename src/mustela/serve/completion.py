"""Answers in the form of OpenAI's chat completions, whole and in chunks."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

__all__ = ["Completion", "ModelList", "Naming", "Usage", "model_list"]

Reason = Literal["stop", "length"]


class AnswerRegion(BaseModel):
    """A box or a point in an answer, in pixels of the picture as it was sent, after its EXIF rotation."""

    box_xyxy: Annotated[list[float], Field(min_length=4, max_length=4)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    point_xy: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    span: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        description="Where its coordinates stand in the text, in characters (code points)."
    )
    phrase: str = Field(description="The words in front of it.")
    repaired: bool = Field(description="The text's coordinates were corrected: out of range, or exchanged.")
    image_index: int = Field(description="The picture that it lies in, counted from 0.")


class AnswerMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    regions: list[AnswerRegion]


class Choice(BaseModel):
    """One of the answers to a request."""

    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Reason


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, prompt: int, answers: int) -> Usage:
        """Return the sums of prompt and answers."""
        return cls(prompt_tokens=prompt, completion_tokens=answers, total_tokens=prompt + answers)


class Completion(BaseModel):
    """The response of `/v1/chat/completions` without streaming."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    """A model of this server."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "mustela"


class ModelList(BaseModel):
    """The response of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[Model]


def model_list(name: str, *, created: int) -> ModelList:
    """Return the list of the one model."""
    return ModelList(data=[Model(id=name, created=created)])


class Naming:
    """What the parts of one response have in common.

    Args:
        model: the model's name.
        with_usage: chunks say that usage comes at the end.
    """

    def __init__(self, model: str, *, with_usage: bool = False) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.model = model
        self._with_usage = with_usage

    def completion(self, choices: list[Choice], usage: Usage) -> Completion:
        """Return the whole response."""
        return Completion(id=self.id, created=self.created, model=self.model, choices=choices, usage=usage)

    def chunk(self, index: int, delta: dict[str, Any], reason: Reason | None = None) -> dict[str, Any]:
        """Return some more of an answer."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._chunk([choice], None)

    def last_chunk(self, usage: Usage) -> dict[str, Any]:
        """Return the chunk that tells the usage."""
        return self._chunk([], usage)

    def _chunk(self, choices: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        told = {"usage": usage and usage.model_dump()} if self._with_usage else {}
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            **told,
        }
