"""Records: one conversation about pictures, with the regions that its turns talk about.

Every reader produces records and nothing after the readers knows a file format. All coordinates are
continuous pixels of the picture as it is shown (after EXIF rotation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mustela.regions import Mask, Region

TurnRole = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class RegionAnnotation:
    """A region that a turn mentions.

    `mask` is the object's segmentation where the region itself is a box or a point; `image` is the index of
    the picture in the record.
    """

    region: Region
    mask: Mask | None = None
    image: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says.

    `text` keeps its placeholders: `<bbox_locationN>` stands for `regions[N]`, however often it is used, and
    `<image>` in a user's turn for a picture.
    """

    role: TurnRole
    text: str
    regions: tuple[RegionAnnotation, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture: path below the image folder, and (width, height) as shown or None if unknown."""

    path: str
    size_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One sample: pictures (or none) and a conversation in which user and assistant alternate."""

    id: str
    images: tuple[ImageRef, ...]
    turns: tuple[Turn, ...]
    system: str | None = None

    @property
    def characters(self) -> int:
        """Characters of all turns."""
        return sum(len(turn.text) for turn in self.turns)

    @property
    def regions(self) -> int:
        """Number of regions of all turns."""
        return sum(len(turn.regions) for turn in self.turns)
