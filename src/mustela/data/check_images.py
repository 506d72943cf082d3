"""Checking a picture: it can be read, and has the size that its annotation says."""

from __future__ import annotations

import functools
from typing import Literal

from mustela.data.check_boxes import Frame
from mustela.data.faults import FaultLog
from mustela.data.image_folder import ImageFault, ImageFolder

SizePolicy = Literal["error", "scale"]


def frame_of(
    path: str,
    stated: tuple[int, int] | None,
    *,
    folder: ImageFolder | None,
    size_policy: SizePolicy,
    log: FaultLog,
) -> Frame:
    """Return the frame that the regions of a picture lie in; what is wrong goes to the log.

    Args:
        path: the picture, as the record has it.
        stated: (width, height) that the record says, or None.
        folder: where the picture lies; without it, the stated size is taken.
        size_policy: see `mustela.data.check.CheckOptions`.
        log: of the record.
    """
    found = folder.look(path) if folder is not None else None
    if isinstance(found, ImageFault):
        log.refuse(found.kind, found.message, found.remedy, field="image")
        found = None
    if found is None or folder is None:
        return Frame(stated)
    frame = Frame(found, is_turned=functools.partial(folder.is_turned, path))
    if stated is None or stated == found:
        return frame
    message = f"image_w, image_h are {stated[0]} x {stated[1]}, but {path} is {found[0]} x {found[1]}."
    if (stated[1], stated[0]) == found and frame.is_turned():
        remedy = "The file has an EXIF rotation (EXIF?): sizes and regions belong to the picture as shown."
    elif size_policy == "scale":
        log.note("size.scaled", message, "The regions were scaled to the file.", field="image_w")
        return Frame(found, stated, frame.is_turned)
    else:
        remedy = "If the image was resized after annotation, set size_policy: scale."
    log.refuse("size.mismatch", message, remedy, field="image_w")
    return frame
