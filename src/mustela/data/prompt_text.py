"""The text of a prompt, with the places in it that are known while it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mustela.constants import IM_END_TOKEN, IM_START_TOKEN
from mustela.data.message import Slot

__all__ = ["Prompt", "PromptWriter", "SlotSpan", "Span"]

Span = tuple[int, int]
"""Half-open range: of characters in the text of a prompt, or of positions in its ids."""

SlotSpan = tuple[int, int, Slot]


@dataclass(frozen=True)
class Prompt:
    """A whole prompt as text, with spans of characters in it.

    Attributes:
        text: what the tokenizer reads. A slot is written as the image token or the region token.
        answers: what is supervised: an answer with the blank before it and the marker that ends it.
        literals: what came from the data or a user, where nothing may act as a control token.
        slots: the control tokens of pictures and regions, in the order of the text.
        round_ends: where each answered round ends.
        is_generation: the prompt ends where the model is to answer.
        template: name of the template, for messages.
    """

    text: str
    answers: tuple[Span, ...]
    literals: tuple[Span, ...]
    slots: tuple[SlotSpan, ...]
    round_ends: tuple[int, ...]
    is_generation: bool
    template: str


class PromptWriter:
    """Writes a prompt piece by piece and keeps the spans."""

    def __init__(self, *, image_token: str, region_token: str, mm_use_im_start_end: bool = False) -> None:
        self._tokens = {Slot.IMAGE: image_token, Slot.REGION: region_token}
        self._wrap_images = mm_use_im_start_end
        self._pieces: list[str] = []
        self._answers: list[Span] = []
        self._literals: list[Span] = []
        self._slots: list[SlotSpan] = []
        self._round_ends: list[int] = []
        self.position = 0

    def control(self, text: str) -> None:
        """Write text of the template: control tokens in it act."""
        if text:
            self._pieces.append(text)
            self.position += len(text)

    def literal(self, text: str) -> None:
        """Write text of the data or a user: nothing in it acts."""
        if text:
            start = self.position
            self.control(text)
            if self._literals and self._literals[-1][1] == start:
                start = self._literals.pop()[0]
            self._literals.append((start, self.position))

    def slot(self, slot: Slot) -> None:
        """Write the control token of a picture or a region."""
        wrapped = slot is Slot.IMAGE and self._wrap_images
        self.control(IM_START_TOKEN if wrapped else "")
        start = self.position
        self.control(self._tokens[slot])
        self._slots.append((start, self.position, slot))
        self.control(IM_END_TOKEN if wrapped else "")

    def parts(self, parts: Iterable[str | Slot]) -> None:
        """Write the parts of a message."""
        for part in parts:
            if isinstance(part, str):
                self.literal(part)
            else:
                self.slot(part)

    def answer(self, start: int, end: int) -> None:
        """Mark the characters from start to end as supervised and their round as ended."""
        self._answers.append((start, end))
        self._round_ends.append(end)

    def prompt(self, *, is_generation: bool, template: str) -> Prompt:
        """Return what was written."""
        return Prompt(
            text="".join(self._pieces),
            answers=tuple(self._answers),
            literals=tuple(self._literals),
            slots=tuple(self._slots),
            round_ends=tuple(self._round_ends),
            is_generation=is_generation,
            template=template,
        )
