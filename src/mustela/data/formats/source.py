"""What a reader is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mustela.data.check_boxes import BoxFormat
from mustela.data.formats.peek import Peek
from mustela.data.formats.scene import Scene
from mustela.errors import ImageError, RecordError
from mustela.regions import image_size


@dataclass(frozen=True, slots=True)
class Source:
    """Files to read.

    Args:
        path: a file or a folder.
        images: where the pictures lie, for formats that give no sizes; None looks at none.
        split: the part of the data to read, for formats with splits; None reads all.
        columns: for tables, which column is what.
        box_format: for tables, what the numbers of boxes are; see `mustela.data.check_boxes.BoxFormat`.
    """

    path: Path
    images: Path | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    box_format: BoxFormat | None = None

    def picture_size(self, name: str) -> tuple[int, int]:
        """Return (width, height) of a picture as shown.

        Raises:
            RecordError: it can't be found; says which picture, and what needs its size.
        """
        folder = self.images or (self.path if self.path.is_dir() else self.path.parent)
        try:
            return image_size(folder / name)
        except ImageError as error:
            raise RecordError(
                f"{self.path}: the size of {name!r} is needed, as its regions are shares of it: {error}"
                " Give the folder of the pictures (--images)."
            ) from error


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a reader found: a native record (not yet checked), a scene, or a fault.

    `pictures` are the files that come with it, where a format carries them inside, by the paths that the
    value uses. After a fault with `last` nothing that follows can be read.
    """

    value: Scene | Mapping[str, Any] | object | None = None
    file: str = ""
    line: int | None = None
    fault: str | None = None
    last: bool = False
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        name: what configurations call it.
        title: what people call it.
        gives: "conversations", which can be trained on as they are, or "annotations", which
            `mustela data convert` makes conversations of.
        recognise: says why a file looks like this format, or None.
        read: yields what is in it, in bounded memory.
        folders: whether a folder of such files is read as one.
    """

    name: str
    title: str
    gives: Literal["conversations", "annotations"]
    recognise: Callable[[Peek], str | None]
    read: Callable[[Source], Iterator[Found]]
    folders: bool = False
