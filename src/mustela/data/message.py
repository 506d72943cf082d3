"""Messages: what a conversation is between rendering a record and writing a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from mustela.errors import RecordError

__all__ = ["Message", "Role", "Round", "Slot", "split_rounds"]

Role = Literal["system", "user", "assistant"]


class Slot(Enum):
    """A place in a message that takes one control token: a picture or the features of a region."""

    IMAGE = "image"
    REGION = "region"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation as text with slots in it.

    Strings in `parts` are plain text, whatever they contain: `"<image>"` as a string is seven characters that
    somebody typed, only `Slot.IMAGE` is a picture. Neighbouring strings are read as one.
    """

    role: Role
    parts: tuple[str | Slot, ...]

    def count(self, slot: Slot) -> int:
        """Return how many slots of this kind the message has."""
        return sum(part is slot for part in self.parts)

    @property
    def plain_text(self) -> str:
        """The text alone, without its slots."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True)
class Round:
    """A question and its answer; only the last round of a conversation may lack the answer."""

    question: Message
    answer: Message | None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The question and, if there is one, the answer."""
        return (self.question,) if self.answer is None else (self.question, self.answer)


def split_rounds(messages: Sequence[Message]) -> tuple[Message | None, tuple[Round, ...]]:
    """Return the system message, if any, and the rounds of a conversation.

    An answer before the first question is left out, as in the original, unless it holds pictures or regions.

    Raises:
        RecordError: no question, an empty answer, two turns of one role in a row, or a system message that is
            not the first one. Turns are counted from 0, without the system message.
    """
    system = messages[0] if messages and messages[0].role == "system" else None
    turns = list(messages[1:] if system is not None else messages)
    first = 0
    if turns and turns[0].role == "assistant":
        if any(isinstance(part, Slot) for part in turns[0].parts):
            raise RecordError(
                "turn 0: the conversation starts with an answer that holds pictures or regions; "
                "put a question before it, or move them to the question"
            )
        first = 1
    rounds: list[Round] = []
    for index in range(first, len(turns), 2):
        question = turns[index]
        answer = turns[index + 1] if index + 1 < len(turns) else None
        _check_role(question, "user", index)
        if answer is not None:
            _check_role(answer, "assistant", index + 1)
            if not answer.plain_text.strip():
                raise RecordError(f"turn {index + 1}: the answer is empty; write one or remove the round")
        rounds.append(Round(question, answer))
    if not rounds:
        raise RecordError("the conversation has no question; it needs at least one human turn")
    return system, tuple(rounds)


def _check_role(message: Message, expected: Role, index: int) -> None:
    if message.role != expected:
        raise RecordError(
            f"turn {index}: found a turn of the {message.role} where one of the {expected} must stand; "
            "human and assistant turns take turns, and a system text comes first"
        )
