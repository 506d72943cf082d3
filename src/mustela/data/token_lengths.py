"""How long records are in tokens of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mustela.data.check import CheckOptions
from mustela.data.dataset import read_images
from mustela.data.inspection import Inspection
from mustela.data.processor import MustelaProcessor
from mustela.data.reading import read_checked
from mustela.data.record import Record
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.data.survey import suspicions
from mustela.errors import MustelaError

logger = logging.getLogger(__name__)

_BIN = 64


def add_lengths(
    inspection: Inspection,
    files: Sequence[tuple[str, str | None]],
    options: CheckOptions,
    *,
    processor: MustelaProcessor,
    rendering: RenderOptions,
    max_length: int,
) -> None:
    """Count the tokens of all records, and say which don't fit.

    Lengths go to `Survey.tokens` in steps of 64 ids. A record that can't be encoded at all is logged.

    Args:
        inspection: of the files; their surveys are added to.
        files: as for `mustela.data.inspection.inspect_files`.
        options: how to read.
        processor: of the model.
        rendering: how regions are written.
        max_length: ids at most.
    """
    inspection.suspicions = [each for each in inspection.suspicions if each.kind != "samples.too_long"]
    for (path, folder), survey in zip(files, inspection.surveys, strict=True):
        for checked in read_checked(path, options, folder=options.open_folder(folder)):
            if checked.record is None:
                continue
            try:
                length = token_length(
                    checked.record, folder, processor=processor, rendering=rendering, options=options
                )
            except MustelaError as error:
                logger.warning('record "%s" can\'t be encoded: %s', checked.record.id, error)
                continue
            survey.tokens[-(-length // _BIN) * _BIN] += 1
            if length > max_length:
                survey.too_long.append(f"{checked.record.id} ({length} > {max_length})")
        inspection.suspicions += [
            each for each in suspicions(path, survey, {}) if each.kind == "samples.too_long"
        ]


def token_length(
    record: Record,
    folder: str | None,
    *,
    processor: MustelaProcessor,
    rendering: RenderOptions,
    options: CheckOptions,
) -> int:
    """Return the number of ids of a record, image tokens included."""
    images = read_images(record, None if folder is None else Path(folder), checks=options)
    sizes = [image.size for image in images]
    frames = processor.frames(rendering.coordinates, sizes)
    rendered = render(record, rendering, sizes_wh=sizes, rng=sample_rng(0, 0, 0), frames=frames)
    return int(processor.encode(rendered, images)["input_ids"].shape[0])
