"""Text of tokens as they come."""

from __future__ import annotations

from typing import Any

__all__ = ["TextPieces"]

# What a decoder writes for bytes that are no character yet.
_INCOMPLETE = "\ufffd"


class TextPieces:
    """Turns ids into text one by one; the pieces together are the text of all ids.

    A piece is held back while it ends inside a character of several tokens. Each is read behind the one
    before it, because what a token stands for (its blank, above all) hangs on what is in front of it.

    Args:
        tokenizer: the processor's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._before = 0
        self._read = 0

    def add(self, token: int) -> str:
        """Return the text that a further token makes certain."""
        self._ids.append(token)
        known, text = self._known(), self._decode(self._ids[self._before :])
        if len(text) <= len(known) or text.endswith(_INCOMPLETE):
            return ""
        self._before, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def rest(self) -> str:
        """Return what was held back, when no more tokens come."""
        known, text = self._known(), self._decode(self._ids[self._before :])
        self._before = self._read = len(self._ids)
        return text[len(known) :]

    def _known(self) -> str:
        return self._decode(self._ids[self._before : self._read])

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""
