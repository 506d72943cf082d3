"""Records as a data set of samples, ready to be batched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mustela.data.augment import Augmentation
from mustela.data.check import CheckOptions
from mustela.data.feature_cache import FeatureReader, picture_key
from mustela.data.image_folder import locate_image
from mustela.data.making import SampleMaker
from mustela.data.pictures import PreparedImage
from mustela.data.processor import DigitWeights, MustelaProcessor
from mustela.data.record import ImageRef, Record
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.data.rounds import SampleTooLongError
from mustela.data.skipping import SkipCounter
from mustela.errors import ImageError, RecordError, RegionError, TemplateError
from mustela.regions import image_size, load_image


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
        augmentation: changes pictures and regions together; None for none, as with `features`.
        on_bad_image: `skip` puts the next record in the place of one whose picture can't be read.
        checks: which image paths and sizes are allowed, as when the records were checked.
        features: kept features of pictures, which needn't be decoded; None decodes all. Samples then have
            `picture_kept (N,)`, `image_maps` of the kept ones, `picture_key` and `picture_size` of others.
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
        features: FeatureReader | None = None,
    ) -> None:
        self.source = source
        self.seed = seed
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
        self.features = features
        self.epoch = 0
        self._skips = SkipCounter("too_long", "bad_image")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that samples are drawn for."""
        self.epoch = epoch

    @property
    def skipped(self) -> dict[str, int]:
        """How often a sample was replaced by the next, by reason, in all workers of this process."""
        return self._skips.counts

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        for position in range(index, index + len(self)):
            sample = self.sample_or_none(position % len(self))
            if sample is not None:
                return sample
        raise RecordError(
            f"none of the {len(self)} records gives a sample; the last reasons are in the log."
            " Raise model_max_length, or check image_folder."
        )

    def sample_or_none(self, index: int) -> dict[str, Tensor] | None:
        """Return the sample of one record; None, and counted, where it is to be skipped."""
        try:
            return self.sample(index)
        except SampleTooLongError as error:
            self._skips.count("too_long", f'record "{self.source[index][0].id}": {error}')
        except ImageError as error:
            if self.on_bad_image == "error":
                raise
            self._skips.count("bad_image", str(error))
        return None

    def longest(self, index: int) -> int | None:
        """Return how many ids a record's sample has at most in any epoch, without looking at its pictures.

        Boxes are counted as boxes, which are longer than points. Augmentation may change numbers, and so add
        an id here and there. None, and counted, where the sample is to be skipped.
        """
        record, folder = self.source[index]
        try:
            sizes = [image.size_wh or self._size_of(image, folder) for image in record.images]
            maker, processor = self._maker, self._maker.processor
            options = replace(maker.options, box_input="box")
            rng = sample_rng(maker.seed, 0, index)
            frames = processor.frames(options.coordinates, sizes)
            rendered = render(record, options, sizes_wh=sizes, rng=rng, frames=frames)
            apart = maker.separate_rounds
            whole = processor.count_tokens(rendered, sizes, separate_rounds=apart)
            limit = maker.max_length
            if limit is not None and whole > limit:
                self._maker.processor.count_tokens(rendered, sizes, max_length=limit, separate_rounds=apart)
                # Rounds that don't fit with boxes may fit with points: only the limit is sure.
                whole = limit
        except SampleTooLongError as error:
            self._skips.count("too_long", f'record "{record.id}": {error}')
        except ImageError as error:
            if self.on_bad_image == "error":
                raise ImageError(f'record "{record.id}": {error}') from error
            self._skips.count("bad_image", f'record "{record.id}": {error}')
        except (RecordError, RegionError, TemplateError) as error:
            raise type(error)(f'record "{record.id}": {error}') from error
        else:
            return whole
        return None

    def _size_of(self, image: ImageRef, folder: Path | None) -> tuple[int, int]:
        return image_size(_locate(image, folder, self.checks), max_pixels=self.checks.max_image_pixels)

    def sample(self, index: int) -> dict[str, Tensor]:
        """Return the sample of one record, with its position as `record (1,)`.

        Raises:
            SampleTooLongError: not even its first round fits.
            ImageError: a picture can't be read; names the record.
            RecordError, RegionError, TemplateError: anything else that is wrong; all name the record.
        """
        record, folder = self.source[index]
        if self.features is not None:
            kept = self._prepared(record, folder, self.features)
            return self._maker.make(record, kept, epoch=self.epoch, position=index)
        images = read_images(record, folder, checks=self.checks)
        return self._maker.make(record, images, epoch=self.epoch, position=index)

    def _prepared(self, record: Record, folder: Path | None, features: FeatureReader) -> list[PreparedImage]:
        """Return a record's pictures with kept features, or decoded and with what they are kept by."""
        made = []
        try:
            for image in record.images:
                path = _locate(image, folder, self.checks)
                content = _content(path)
                key = picture_key(content)
                found = features.get(key)
                if found is not None:
                    maps, size_wh = found
                    inputs = {"image_maps": maps[None], "picture_kept": torch.tensor([True])}
                    made.append(self._maker.processor.place_image(size_wh, inputs))
                    continue
                picture = load_image(content, max_pixels=self.checks.max_image_pixels, name=str(path))
                prepared = self._maker.processor.prepare_image(picture)
                new = {
                    "picture_kept": torch.tensor([False]),
                    "picture_key": torch.tensor([list(key)], dtype=torch.uint8),
                    "picture_size": torch.tensor([picture.size]),
                }
                made.append(replace(prepared, inputs={**prepared.inputs, **new}))
        except ImageError as error:
            raise ImageError(f'record "{record.id}": {error}') from error
        return made


def read_images(
    record: Record, folder: Path | None, *, checks: CheckOptions | None = None
) -> list[Image.Image]:
    """Open a record's pictures as RGB.

    Raises:
        ImageError: a picture is missing or broken, or its path leaves the folder; names the record.
    """
    try:
        checks = checks or CheckOptions()
        paths = [_locate(image, folder, checks) for image in record.images]
        return [load_image(path, max_pixels=checks.max_image_pixels) for path in paths]
    except ImageError as error:
        raise ImageError(f'record "{record.id}": {error}') from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: can't be read: {error.strerror or error}.") from error


def _locate(image: ImageRef, folder: Path | None, checks: CheckOptions) -> Path:
    return locate_image(
        image.path, folder or Path(), absolute_paths=checks.absolute_paths, symlinks=checks.symlinks
    )
