"""Checking the regions of a record: box lists with their masks, and the objects of `regions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mustela.data.check_boxes import BoxFormat, Frame, place_box, plain_box, read_box
from mustela.data.faults import FaultLog
from mustela.data.native import REGION_KEYS
from mustela.data.record import RegionAnnotation
from mustela.errors import RegionError
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble, region_from_json
from mustela.regions.units import looks_normalised

Annotations = tuple[RegionAnnotation, ...]

_TO_PIXELS = "Multiply x by the image's width and y by its height."


@dataclass(frozen=True, slots=True)
class RegionReader:
    """Reads the regions of one record; what is wrong goes to the log, and such regions are left out."""

    frames: Sequence[Frame]
    box_format: BoxFormat
    log: FaultLog

    def box_lists(self, boxes: object, masks: object, turns: int) -> list[Annotations | None]:
        """Return the regions of `box_x1y1x2y2` and `masks` by turn; None for a turn with errors."""
        box_lists = self._turn_lists(boxes, turns, "box_x1y1x2y2")
        mask_lists = self._turn_lists(masks, turns, "masks")
        if box_lists is None or mask_lists is None:
            return [None] * turns
        return [self._turn_boxes(of_turn, mask_lists[turn], turn) for turn, of_turn in enumerate(box_lists)]

    def objects(self, value: object, turns: int) -> list[Annotations | None]:
        """Return the regions of `regions` by turn; None for a turn with errors."""
        lists = self._turn_lists(value, turns, "regions")
        if lists is None:
            return [None] * turns
        result: list[Annotations | None] = []
        for turn, of_turn in enumerate(lists):
            found = [
                self._object(entry, turn, f"regions[{turn}][{index}]") for index, entry in enumerate(of_turn)
            ]
            result.append(_all_or_none(found))
        return result

    def _turn_lists(self, value: object, turns: int, field: str) -> list[list[object]] | None:
        """Return one list a turn; nothing, null and [] all mean that no turn has regions."""
        if not value and not isinstance(value, str | int | float | dict):
            return [[] for _ in range(turns)]
        if not isinstance(value, list):
            message = f"{field} is a {type(value).__name__}."
            self.log.refuse("regions.type", message, f"{field} is a list of lists, one a turn.", field=field)
            return None
        if len(value) != turns:
            given = ", ".join(str(len(entry)) if isinstance(entry, list) else "?" for entry in value)
            self.log.refuse(
                "regions.turns",
                f"{field} has {len(value)} lists (of {given} entries) for {turns} turns.",
                "Give one list for each entry of conversations, empty where a turn has none.",
                field=field,
            )
            return None
        lists: list[list[object]] = []
        for turn, entry in enumerate(value):
            if entry is not None and not isinstance(entry, list):
                message = f"{field}[{turn}] is a {type(entry).__name__}, not a list."
                self.log.refuse("regions.type", message, turn=turn, field=field)
                return None
            lists.append(entry or [])
        return lists

    def _turn_boxes(self, boxes: list[object], masks: list[object], turn: int) -> Annotations | None:
        if masks and len(masks) != len(boxes):
            self.log.refuse(
                "masks.count",
                f"{len(masks)} masks for {len(boxes)} boxes.",
                "Give one mask for each box, null where there is none.",
                turn=turn,
                field="masks",
            )
            return None
        if not boxes:
            return ()
        frame = self._frame(0, turn, "box_x1y1x2y2")
        if frame is None:
            return None
        plain = self.box_format == "xyxy" and not any(masks)
        found: list[RegionAnnotation | None] = []
        for index, value in enumerate(boxes):
            usual = plain_box(value, frame) if plain else None
            if usual is not None:
                found.append(RegionAnnotation(usual))
                continue
            field = f"box_x1y1x2y2[{turn}][{index}]"
            box = read_box(value, frame, box_format=self.box_format, log=self.log, turn=turn, field=field)
            mask_value = masks[index] if masks else None
            found.append(self._with_mask(box, mask_value, 0, turn, f"masks[{turn}][{index}]"))
        return _all_or_none(found)

    def _object(self, value: object, turn: int, field: str) -> RegionAnnotation | None:
        try:
            region = region_from_json(value, ignore=REGION_KEYS)
        except RegionError as error:
            self.log.refuse("region.invalid", str(error), turn=turn, field=field)
            return None
        extra: Mapping[str, object] = value if isinstance(value, Mapping) else {}
        image = extra.get("image", 0)
        if isinstance(image, bool) or not isinstance(image, int):
            message = f"image is {image!r}, not the index of a picture."
            self.log.refuse("region.image", message, turn=turn, field=field)
            return None
        frame = self._frame(image, turn, field)
        if frame is None:
            return None
        placed = self._place(region, frame, turn, field)
        return self._with_mask(placed, extra.get("mask"), image, turn, f"{field}.mask")

    def _frame(self, image: int, turn: int, field: str) -> Frame | None:
        if 0 <= image < len(self.frames):
            return self.frames[image]
        message = f"a region of image {image}, but the record has {len(self.frames)} images."
        self.log.refuse("region.image", message, "Images are counted from 0.", turn=turn, field=field)
        return None

    def _place(self, region: Region, frame: Frame, turn: int, field: str) -> Region | None:
        """Return the region scaled and inside its picture, or None after an error."""
        if isinstance(region, Mask):
            mask = self._fit_mask(region, frame, turn, field)
            if mask is not None and mask.area((mask.size_hw[1], mask.size_hw[0])) == 0:
                self.log.refuse("mask.empty", "the mask has no pixel inside.", turn=turn, field=field)
                return None
            return mask
        if looks_normalised(region):
            message = (
                f"the coordinates of the {_kind(region)} look normalised 0..1, but regions are in pixels."
            )
            self.log.refuse("region.normalised", message, _TO_PIXELS, turn=turn, field=field)
            return None
        scaled = _scale(region, frame.scale_xy)
        if isinstance(scaled, Box):
            corners = scaled.bounds_xyxy()
            return place_box(corners, frame, given=corners, log=self.log, turn=turn, field=field)
        if frame.size_wh is None or _is_seen(scaled, frame.size_wh):
            return scaled
        width, height = frame.size_wh
        message = f"the {_kind(scaled)} lies outside the image of {width} x {height} pixels: it covers none."
        remedy = "Regions are in pixels of the image as shown; correct it, or leave it out of the turn."
        self.log.refuse("region.outside", message, remedy, turn=turn, field=field)
        return None

    def _with_mask(
        self, region: Region | None, value: object, image: int, turn: int, field: str
    ) -> RegionAnnotation | None:
        """Add the segmentation; one that is empty or does not meet its region is dropped with a warning."""
        mask: Mask | None = None
        if value:
            mask = self._mask(value, self.frames[image], turn, field)
            if mask is None:
                return None
        if region is None or mask is None:
            return None if region is None else RegionAnnotation(region, None, image)
        if mask.area((mask.size_hw[1], mask.size_hw[0])) == 0:
            message = "the mask has no pixel inside; the region is used without it."
            self.log.note("mask.empty_dropped", message, turn=turn, field=field)
            return RegionAnnotation(region, None, image)
        if not _meet(region, mask):
            message = "the mask and its region have no pixel in common; the region is used without it."
            self.log.note("mask.apart", message, turn=turn, field=field)
            return RegionAnnotation(region, None, image)
        return RegionAnnotation(region, mask, image)

    def _mask(self, value: object, frame: Frame, turn: int, field: str) -> Mask | None:
        try:
            if isinstance(value, list):
                return self._polygon_mask(value, frame)
            mask = Mask.from_rle(value if isinstance(value, Mapping) else {})
        except RegionError as error:
            self.log.refuse("mask.invalid", str(error), turn=turn, field=field)
            return None
        return self._fit_mask(mask, frame, turn, field)

    def _polygon_mask(self, rings: list[object], frame: Frame) -> Mask:
        given = region_from_json({"type": "polygon", "rings": rings})
        if looks_normalised(given):
            raise RegionError(f"the polygons look normalised 0..1, but masks are in pixels. {_TO_PIXELS}")
        polygon = _scale(given, frame.scale_xy)
        if frame.size_wh is None:
            raise RegionError("a mask given as polygons needs image_w and image_h in the record.")
        return Mask.from_array(polygon.raster(frame.size_wh))

    def _fit_mask(self, mask: Mask, frame: Frame, turn: int, field: str) -> Mask | None:
        """Return the mask in the frame of the file; a mask of another size is an error."""
        height, width = mask.size_hw
        if frame.size_wh is None or (width, height) == frame.size_wh:
            return mask
        if (width, height) == frame.annotated_wh:
            picture = Image.fromarray(mask.raster((width, height)))
            return Mask.from_array(np.asarray(picture.resize(frame.size_wh, Image.Resampling.NEAREST)))
        message = (
            f"the mask is for an image {width} wide and {height} high, "
            f"but the image is {frame.size_wh[0]} wide and {frame.size_wh[1]} high."
        )
        remedy = "Masks are never resized silently."
        if (height, width) == frame.size_wh:
            remedy = "The sides are exchanged: the size of an RLE is [h, w] ([w, h] given?)."
            if frame.is_turned():
                remedy = "The file has an EXIF rotation (EXIF?): masks belong to the picture as shown."
        self.log.refuse("mask.size", message, remedy, turn=turn, field=field)
        return None


def _all_or_none(found: Sequence[RegionAnnotation | None]) -> Annotations | None:
    complete = tuple(annotation for annotation in found if annotation is not None)
    return complete if len(complete) == len(found) else None


def _kind(region: Region) -> str:
    return type(region).__name__.lower()


def _is_seen(region: Region, size_wh: tuple[int, int]) -> bool:
    """Whether a region covers a pixel; looks at pixels only where it reaches out of the picture."""
    x1, y1, x2, y2 = region.bounds_xyxy()
    width, height = size_wh
    if x1 > width or y1 > height or min(x2, y2) < 0:
        return False
    return (min(x1, y1) >= 0 and x2 <= width and y2 <= height) or region.area(size_wh) > 0


def _scale(region: Region, scale_xy: tuple[float, float]) -> Region:
    """Scale a region that is not a mask."""
    x, y = scale_xy
    if (x, y) == (1.0, 1.0):
        return region
    match region:
        case Point(px, py):
            return Point(px * x, py * y)
        case Box(x1, y1, x2, y2):
            return Box(x1 * x, y1 * y, x2 * x, y2 * y)
        case Scribble(points, width):
            return Scribble(tuple((px * x, py * y) for px, py in points), width * (x * y) ** 0.5)
        case Polygon(rings):
            return Polygon(tuple(tuple((px * x, py * y) for px, py in ring) for ring in rings))
        case Mask():
            raise RegionError("a mask is not scaled like a shape.")


def _meet(region: Region, mask: Mask) -> bool:
    """Whether region and mask share a pixel; looks at pixels only where the bounds don't tell."""
    x1, y1, x2, y2 = region.bounds_xyxy()
    mask_x1, mask_y1, mask_x2, mask_y2 = mask.bounds_xyxy()
    if isinstance(region, Box) and x1 <= mask_x1 and y1 <= mask_y1 and mask_x2 <= x2 and mask_y2 <= y2:
        return True
    size_wh = (mask.size_hw[1], mask.size_hw[0])
    return bool((region.raster(size_wh) & mask.raster(size_wh)).any())
