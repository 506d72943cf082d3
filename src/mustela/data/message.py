"""Messages: what a conversation is between rendering a record and writing a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

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
