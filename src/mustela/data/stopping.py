"""Stop strings in generated text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopMatcher", "cut_at_stop"]


class StopMatcher:
    """Finds the first stop string in text that arrives in pieces, wherever the borders of the pieces are.

    Each row of a batch has a matcher of its own.

    Args:
        stop_strings: what ends the text; empty strings are ignored.

    Attributes:
        finished: nothing more comes out.
        matched: a stop string was the reason.
    """

    def __init__(self, stop_strings: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in dict.fromkeys(stop_strings) if stop)
        self._held = ""
        self.finished = False
        self.matched = False

    def feed(self, piece: str) -> str:
        """Return the text that is certain now: neither a stop string nor, perhaps, the beginning of one.

        After a stop string, `finished` is true and nothing more comes out.
        """
        if self.finished:
            return ""
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        # An earlier beginning that may still become a longer stop string wins over a later whole one.
        pending = len(text) - self._pending(text)
        if found and min(found) <= pending:
            self.finished = self.matched = True
            self._held = ""
            return text[: min(found)]
        self._held = text[pending:]
        return text[:pending]

    def finish(self) -> str:
        """Return what was held back, when no more text comes."""
        if self.finished:
            return ""
        self.finished = True
        rest, self._held = self._held, ""
        kept = cut_at_stop(rest, self._stops)
        self.matched = kept != rest
        return kept

    def _pending(self, text: str) -> int:
        longest = max(map(len, self._stops), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            end = text[-length:]
            if any(len(stop) > length and stop.startswith(end) for stop in self._stops):
                return length
        return 0


def cut_at_stop(text: str, stop_strings: Sequence[str]) -> str:
    """Return the text before the first stop string in it, or all of it."""
    found = [at for at in (text.find(stop) for stop in stop_strings if stop) if at >= 0]
    return text[: min(found)] if found else text
