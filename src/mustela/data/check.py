"""Checking records: all faults of a record in one look, and the record itself if it has none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.constants import IMAGE_PLACEHOLDER, LOCATION_PATTERN
from mustela.data.check_boxes import BoxFormat, Frame, check_box_format
from mustela.data.check_images import SizePolicy, frame_of
from mustela.data.check_regions import Annotations, RegionReader
from mustela.data.check_turns import check_unicode, read_turns
from mustela.data.faults import Fault, FaultLog
from mustela.data.image_folder import ImageCheck, ImageFolder, Symlinks
from mustela.data.record import ImageRef, Record, Turn
from mustela.errors import ConfigError
from mustela.regions.image import MAX_PIXELS

_LOCATION = re.compile(LOCATION_PATTERN)
_LOCATION_WORD = "bbox_location"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How records are read and checked.

    Args:
        box_format: what the numbers of `box_x1y1x2y2` are, see `mustela.data.check_boxes.BoxFormat`.
        size_policy: what to do where `image_w` and `image_h` differ from the file: "error", or "scale" the
            regions to the file.
        data_format: format of the data files, see `mustela.data.formats`; "auto" looks into them.
        images: "size" opens each picture and reads its size, "decode" decodes it, "none" only looks at paths.
        absolute_paths: allow absolute image paths.
        symlinks: which links in the image folder to follow, see `mustela.data.image_folder.locate_image`.
        max_image_pixels: pictures with more pixels are refused.
    """

    box_format: BoxFormat = "xyxy"
    size_policy: SizePolicy = "error"
    data_format: str = "auto"
    images: ImageCheck = "size"
    absolute_paths: bool = False
    symlinks: Symlinks = "follow"
    max_image_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_box_format(self.box_format)
        for name, value, choices in (
            ("size_policy", self.size_policy, ("error", "scale")),
            ("images", self.images, ("none", "size", "decode")),
            ("symlinks", self.symlinks, ("follow", "inside", "refuse")),
        ):
            if value not in choices:
                raise ConfigError(f"{name} is {value!r}. Choose one of: {', '.join(map(repr, choices))}.")

    def open_folder(self, folder: str | Path | None) -> ImageFolder | None:
        """Return the image folder to look into, None if there is none."""
        if folder is None:
            return None
        return ImageFolder(
            folder,
            check=self.images,
            absolute_paths=self.absolute_paths,
            symlinks=self.symlinks,
            max_pixels=self.max_image_pixels,
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A record and its faults; the record is None if any of them is an error."""

    record: Record | None
    faults: tuple[Fault, ...]


def check_record(
    raw: object,
    options: CheckOptions | None = None,
    *,
    folder: ImageFolder | None = None,
    file: str = "",
    line: int | None = None,
) -> Checked:
    """Read one JSON value of a data file as a record; never raises for what it holds, and never changes it.

    Args:
        raw: the value, of the form that `mustela.data.native` describes.
        options: how to read and check.
        folder: where the pictures lie; without it they are not looked at.
        file: name of the data file, for the faults.
        line: line of the record in it.
    """
    options = options or CheckOptions()
    log = FaultLog(file, line)
    record = _Reading(raw, options, folder, log).record() if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping):
        message = f"the record is a {type(raw).__name__}, not an object."
        log.refuse("record.type", message, "A file is an array of records or one record a line.")
    return Checked(None if log.has_errors else record, tuple(log.faults))


class _Reading:
    """The reading of one raw record."""

    def __init__(
        self, raw: Mapping[str, Any], options: CheckOptions, folder: ImageFolder | None, log: FaultLog
    ) -> None:
        self._raw = raw
        self._options = options
        self._folder = folder
        self._log = log

    def record(self) -> Record | None:
        """Return the record, if what was found makes one; the log has the faults."""
        self._read_id()
        paths = self._read_paths()
        frames, images = self._read_images(paths) if paths is not None else ([], ())
        conversation = read_turns(self._raw.get("conversations"), self._log)
        if conversation is None or paths is None:
            return None
        turns, system = conversation
        regions = self._read_regions(frames, len(turns) + (system is not None))
        if system is not None:
            if regions[0]:
                self._log.refuse(
                    "regions.turns", "the system turn has regions.", turn=0, field="conversations"
                )
            regions = regions[1:]
        first = 0 if system is None else 1
        for number, (turn, of_turn) in enumerate(zip(turns, regions, strict=True), start=first):
            if of_turn is not None:
                self._check_placeholders(turn.text, len(of_turn), number)
        self._check_image_count(turns, len(paths))
        complete = tuple(
            Turn(turn.role, turn.text, of_turn or ()) for turn, of_turn in zip(turns, regions, strict=True)
        )
        return Record(self._log.record_id, images, complete, system)

    def _read_id(self) -> None:
        value = self._raw.get("id")
        if value is None:
            self._log.record_id = f"line {self._log.line}" if self._log.line else ""
        elif isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            self._log.record_id = str(value)
            check_unicode(self._log.record_id, self._log, field="id")
        else:
            self._log.refuse(
                "record.id", f"id is {value!r}.", "An id is a text or a whole number.", field="id"
            )

    def _read_paths(self) -> list[str] | None:
        value = self._raw.get("image")
        if value in (None, "", []):
            return []
        paths = [value] if isinstance(value, str) else value
        if isinstance(paths, list) and all(isinstance(path, str) and path for path in paths):
            for path in paths:
                check_unicode(path, self._log, field="image")
            return paths
        message = f"image is {value!r}."
        self._log.refuse("image.type", message, "It is a path, or a list of paths.", field="image")
        return None

    def _read_images(self, paths: Sequence[str]) -> tuple[list[Frame], tuple[ImageRef, ...]]:
        declared = self._declared_sizes(len(paths))
        frames: list[Frame] = []
        images: list[ImageRef] = []
        for path, stated in zip(paths, declared, strict=True):
            frame = frame_of(
                path, stated, folder=self._folder, size_policy=self._options.size_policy, log=self._log
            )
            frames.append(frame)
            images.append(ImageRef(path, frame.size_wh))
        return frames, tuple(images)

    def _declared_sizes(self, count: int) -> list[tuple[int, int] | None]:
        sides: list[list[int | None]] = []
        for key in ("image_w", "image_h"):
            value = self._raw.get(key)
            entries = value if isinstance(value, list) else [value] * min(count, 1)
            if value is None:
                entries = [None] * count
            if len(entries) != count or not all(_is_side(entry) for entry in entries):
                message = f"{key} is {value!r} for {count} images."
                remedy = "It is a whole number of pixels, or a list of one for each image."
                self._log.refuse("size.type", message, remedy, field=key)
                entries = [None] * count
            sides.append([None if entry is None else int(entry) for entry in entries])
        return [
            (width, height) if width is not None and height is not None else None
            for width, height in zip(*sides, strict=True)
        ]

    def _read_regions(self, frames: Sequence[Frame], turns: int) -> list[Annotations | None]:
        reader = RegionReader(frames, self._options.box_format, self._log)
        if self._raw.get("regions"):
            if self._raw.get("box_x1y1x2y2"):
                message = "the record has both regions and box_x1y1x2y2."
                self._log.refuse("regions.both", message, "Keep one of them.", field="regions")
                return [None] * turns
            return reader.objects(self._raw["regions"], turns)
        return reader.box_lists(self._raw.get("box_x1y1x2y2"), self._raw.get("masks"), turns)

    def _check_placeholders(self, text: str, regions: int, turn: int) -> None:
        written = text.count(_LOCATION_WORD)
        if not written and not regions:
            return
        numbers = _LOCATION.findall(text)
        used = {int(number) for number in numbers}
        wanted = set(range(regions))
        if used != wanted:
            gaps = [f"<bbox_location{number}> has no box" for number in sorted(used - wanted)]
            gaps += [f"box {number} has no placeholder" for number in sorted(wanted - used)]
            found = ", ".join(map(str, sorted(used))) or "none"
            message = f"placeholders found: {found}; boxes given: {regions}; {'; '.join(gaps)}."
            remedy = "Each box needs its placeholder, numbered from 0, and the other way round."
            self._log.refuse("regions.placeholders", message, remedy, turn=turn, field="value")
        if written > len(numbers):
            message = f"the text has a malformed placeholder ({_LOCATION_WORD!r} without number or brackets)."
            remedy = "A placeholder is <bbox_location0>."
            self._log.refuse("regions.placeholders", message, remedy, turn=turn, field="value")

    def _check_image_count(self, turns: Sequence[Turn], images: int) -> None:
        found = sum(turn.text.count(IMAGE_PLACEHOLDER) for turn in turns if turn.role == "user")
        if found != images:
            message = f"{found} {IMAGE_PLACEHOLDER} found in the human turns, {images} images given."
            remedy = f"Write {IMAGE_PLACEHOLDER} once for each image."
            self._log.refuse("image.count", message, remedy, field="image")


def _is_side(value: object) -> bool:
    """Whether a stated side is unknown or a whole number of pixels."""
    if value is None or (type(value) is int and value >= 1):
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return float(value).is_integer() and value >= 1
