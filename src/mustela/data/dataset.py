"""Records as a data set of samples, ready to be batched."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mustela.data.augment import Augmentation
from mustela.data.check import CheckOptions
from mustela.data.image_folder import locate_image
from mustela.data.making import SampleMaker
from mustela.data.processor import DigitWeights, MustelaProcessor
from mustela.data.record import Record
from mustela.data.render import RenderOptions
from mustela.data.rounds import SampleTooLongError
from mustela.errors import ImageError, RecordError
from mustela.regions import load_image

logger = logging.getLogger(__name__)

_KINDS = ("too_long", "bad_image")


class RecordSource(Protocol):
    """Records with the folder of their images, by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Record, Path | None]: ...


class RecordDataset(Dataset[dict[str, Tensor]]):
    """Samples of records; a sample is a function of (seed, epoch, position) and of nothing else.

    Args:
        source: records and image folders.
        processor: makes the tensors.
        options: how regions are written.
        seed: of all choices.
        train: draw points, and augment; False spreads points evenly and shows boxes as the options say.
        max_length: ids at most, see `mustela.data.rounds.fit_rounds`.
        digit_weights: see `MustelaProcessor.encode`.
        separate_rounds: see `MustelaProcessor.encode`.
        augmentation: changes pictures and regions together; None for none.
        on_bad_image: `skip` puts the next record in the place of one whose picture can't be read.
        checks: which image paths and sizes are allowed, as when the records were checked.
    """

    def __init__(
        self,
        source: RecordSource,
        processor: MustelaProcessor,
        *,
        options: RenderOptions,
        seed: int,
        train: bool = True,
        max_length: int | None = None,
        digit_weights: DigitWeights | None = None,
        separate_rounds: bool = False,
        augmentation: Augmentation | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        checks: CheckOptions | None = None,
    ) -> None:
        self.source = source
        self._maker = SampleMaker(
            processor,
            options,
            seed,
            train=train,
            max_length=max_length,
            digit_weights=digit_weights,
            separate_rounds=separate_rounds,
            augmentation=augmentation,
        )
        self.on_bad_image = on_bad_image
        self.checks = checks or CheckOptions()
        self.epoch = 0
        # In shared memory, so that what workers skip is counted here.
        self._skipped = torch.zeros(len(_KINDS), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that samples are drawn for."""
        self.epoch = epoch

    @property
    def skipped(self) -> dict[str, int]:
        """How often a sample was replaced by the next, by reason, in all workers of this process."""
        return dict(zip(_KINDS, self._skipped.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        for position in range(index, index + len(self)):
            try:
                return self.sample(position % len(self))
            except SampleTooLongError as error:
                self._count("too_long", f'record "{self.source[position % len(self)][0].id}": {error}')
            except ImageError as error:
                if self.on_bad_image == "error":
                    raise
                self._count("bad_image", str(error))
        raise RecordError(
            f"none of the {len(self)} records gives a sample; the last reasons are in the log."
            " Raise model_max_length, or check image_folder."
        )

    def sample(self, index: int) -> dict[str, Tensor]:
        """Return the sample of one record, with its position as `record (1,)`.

        Raises:
            SampleTooLongError: not even its first round fits.
            ImageError: a picture can't be read; names the record.
            RecordError, RegionError, TemplateError: anything else that is wrong; all name the record.
        """
        record, folder = self.source[index]
        images = read_images(record, folder, checks=self.checks)
        return self._maker.make(record, images, epoch=self.epoch, position=index)

    def _count(self, kind: str, reason: str) -> None:
        self._skipped[_KINDS.index(kind)] += 1
        logger.warning("Skipped: %s", reason)


def read_images(
    record: Record, folder: Path | None, *, checks: CheckOptions | None = None
) -> list[Image.Image]:
    """Open a record's pictures as RGB.

    Raises:
        ImageError: a picture is missing or broken, or its path leaves the folder; names the record.
    """
    try:
        checks = checks or CheckOptions()
        paths = [
            locate_image(
                image.path, folder or Path(), absolute_paths=checks.absolute_paths, symlinks=checks.symlinks
            )
            for image in record.images
        ]
        return [load_image(path, max_pixels=checks.max_image_pixels) for path in paths]
    except ImageError as error:
        raise ImageError(f'record "{record.id}": {error}') from error
