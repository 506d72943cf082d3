"""From what a reader found to a record and its pictures, without a table in between."""

from __future__ import annotations

from PIL import Image

from mustela.data.check import CheckOptions, check_record
from mustela.data.dataset import read_images
from mustela.data.formats import FORMATS, Found, Scene, Source
from mustela.data.image_folder import PicturesInside
from mustela.data.record import Record
from mustela.errors import RecordError
from mustela.regions import load_image


def found_record(found: Found, source: Source, *, checks: CheckOptions) -> Record:
    """Check what was found.

    Raises:
        RecordError: it is no record, or one with errors; says where and which.
    """
    where = found.file or str(source.path)
    place = where if found.line is None else f"{where}:{found.line}"
    if found.fault is not None:
        raise RecordError(f"{place}: {found.fault}.")
    if isinstance(found.value, Scene):
        raise RecordError(
            f"{place}: a caption and no conversation. Make some: mustela data convert --from"
            f" {FORMATS['webdataset'].name} --annotations {source.path} --task caption --out train.json"
        )
    folder = (
        PicturesInside(found.pictures, max_pixels=checks.max_image_pixels)
        if found.pictures
        else checks.open_folder(source.images or source.path.parent)
    )
    checked = check_record(found.value, checks, folder=folder, file=where, line=found.line)
    if checked.record is None:
        raise RecordError(str(next(each for each in checked.faults if each.severity == "error")))
    return checked.record


def found_images(record: Record, found: Found, source: Source, *, checks: CheckOptions) -> list[Image.Image]:
    """Open the pictures of a record as RGB, from beside or inside its file.

    Raises:
        ImageError: one can't be read; names the record.
    """
    if not found.pictures:
        return read_images(record, source.images or source.path.parent, checks=checks)
    return [
        load_image(
            found.pictures[image.path],
            max_pixels=checks.max_image_pixels,
            name=f'record "{record.id}": {image.path}',
        )
        for image in record.images
    ]
