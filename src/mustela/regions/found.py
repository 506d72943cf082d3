"""What is found in an answer: boxes and points, and what only looks like them."""

from __future__ import annotations

from dataclasses import dataclass

from mustela.regions.types import Box, Point


@dataclass(frozen=True, slots=True)
class FoundRegion:
    """A box or point that an answer names.

    `region` is in pixels of the original image, inside it. `span` is the half-open range of characters of
    its numbers and brackets in the answer, `phrase` what it seems to belong to (the words before it, or the
    label of its JSON object). `repaired` says that the numbers were not used as written, and `note` in
    which way.
    """

    region: Box | Point
    span: tuple[int, int]
    phrase: str
    repaired: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A place of an answer (half-open range of characters) that looks like coordinates and isn't, and why."""

    span: tuple[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """All regions of an answer in the order of its text, and what was rejected."""

    regions: tuple[FoundRegion, ...]
    rejected: tuple[Rejected, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes alone."""
        return tuple(found.region for found in self.regions if isinstance(found.region, Box))

    @property
    def failure(self) -> str | None:
        """Why there is no box, or None if there is one."""
        if self.boxes:
            return None
        if self.rejected:
            return "; ".join(rejected.reason for rejected in self.rejected)
        return "a point but no box" if self.regions else "no coordinates in the answer"
