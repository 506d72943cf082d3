"""How one record becomes a sample, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from mustela.data.augment import Augmentation, augment
from mustela.data.pictures import PreparedImage
from mustela.data.processor import DigitWeights, MustelaProcessor
from mustela.data.record import Record
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.data.rounds import SampleTooLongError
from mustela.errors import RecordError, RegionError, TemplateError


@dataclass(frozen=True)
class SampleMaker:
    """Makes samples of records; a sample is a function of (seed, epoch, position) and of nothing else.

    Args:
        processor: makes the tensors.
        options: how regions are written.
        seed: of all choices.
        train: draw points, and augment; False spreads points evenly and shows boxes as the options say.
        max_length: ids at most, see `mustela.data.rounds.fit_rounds`.
        digit_weights: see `MustelaProcessor.encode`.
        separate_rounds: see `MustelaProcessor.encode`.
        augmentation: changes pictures and regions together; None for none.
    """

    processor: MustelaProcessor
    options: RenderOptions
    seed: int
    train: bool = True
    max_length: int | None = None
    digit_weights: DigitWeights | None = None
    separate_rounds: bool = False
    augmentation: Augmentation | None = None

    def make(
        self, record: Record, images: Sequence[Image.Image | PreparedImage], *, epoch: int, position: int
    ) -> dict[str, Tensor]:
        """Return the sample of a record with its pictures, and its position as `record (1,)`.

        Pictures that are prepared already are not augmented.

        Raises:
            SampleTooLongError: not even its first round fits.
            RecordError, RegionError, TemplateError: anything else that is wrong; all name the record.
        """
        rng = sample_rng(self.seed, epoch, position)
        shown = list(images)
        plain = [image for image in images if isinstance(image, Image.Image)]
        if self.augmentation is not None and self.train and len(plain) == len(shown):
            record, plain = augment(record, plain, self.augmentation, rng=rng)
            shown = list(plain)
        sizes = [image.size_wh if isinstance(image, PreparedImage) else image.size for image in shown]
        frames = self.processor.frames(self.options.coordinates, sizes)
        rendered = render(record, self.options, sizes_wh=sizes, rng=rng, frames=frames)
        try:
            sample = self.processor.encode(
                rendered,
                shown,
                rng=rng if self.train else None,
                max_length=self.max_length,
                digit_weights=self.digit_weights,
                separate_rounds=self.separate_rounds,
            )
        except SampleTooLongError:
            raise
        except (RecordError, RegionError, TemplateError) as error:
            raise type(error)(f'record "{record.id}": {error}') from error
        return {**sample, "record": torch.tensor([position])}
