"""From data arguments to what a stage trains on and is measured on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from mustela.config import DataArguments, ModelArguments
from mustela.config.training import StageArguments, TrainingArguments
from mustela.constants import LOCATION_PATTERN
from mustela.data.augment import Augmentation
from mustela.data.check import CheckOptions
from mustela.data.dataset import RecordDataset, RecordSource
from mustela.data.feature_cache import FeatureReader
from mustela.data.packing import PackedDataset
from mustela.data.processor import DigitWeights, MustelaProcessor
from mustela.data.record import Record
from mustela.data.render import RenderOptions
from mustela.errors import ConfigError
from mustela.train.records import Files, open_files

_TEXTS_FOR_A_TOKENIZER = 50_000
_PLACEHOLDER = re.compile(LOCATION_PATTERN)
# Samples that the loss is measured on; there may be none.
HeldOut = Subset[Any] | tuple[()]


@dataclass(frozen=True)
class StageData:
    """Checked records of a stage, and how they are shown.

    Args:
        files: the training records, mixed.
        held_out_files: the held-out records, or None.
        arguments: of the data.
        options: how regions are written into texts.
    """

    files: Files
    held_out_files: Files | None
    arguments: DataArguments
    options: RenderOptions

    def __len__(self) -> int:
        return len(self.files.source)

    @property
    def report(self) -> dict[str, Any]:
        """What was read, skipped and why."""
        made: dict[str, Any] = {"train": self.files.report}
        if self.held_out_files is not None:
            made["held_out"] = self.held_out_files.report
        return made

    @property
    def table(self) -> str:
        """The mixture, as a table."""
        return self.files.table

    def training_set(
        self,
        processor: MustelaProcessor,
        training: TrainingArguments,
        features: FeatureReader | None = None,
    ) -> RecordDataset | PackedDataset:
        """Make the training samples, with `packing` in rows of several, with kept features if there are."""
        data = self.arguments
        augmentation = augmentation_of(data)
        dataset = RecordDataset(
            self.files.source,
            processor,
            options=self._options(processor),
            seed=training.seed if training.data_seed is None else training.data_seed,
            max_length=training.model_max_length,
            digit_weights=_digit_weights(data),
            separate_rounds=data.separate_rounds,
            augmentation=augmentation if augmentation.changes else None,
            on_bad_image=data.on_bad_image,
            checks=check_options(data),
            features=features,
        )
        if not data.packing:
            return dataset
        return PackedDataset(dataset, row_length=training.model_max_length)

    def held_out(self, processor: MustelaProcessor, training: TrainingArguments) -> HeldOut:
        """Make the samples that the loss is measured on: some of the held-out records, evenly spread.

        There are none without held-out records, as where only benchmarks are asked.
        """
        if self.held_out_files is None:
            return ()
        source = self.held_out_files.source
        dataset = RecordDataset(
            source,
            processor,
            options=self._options(processor),
            seed=training.seed,
            train=False,
            max_length=training.model_max_length,
            on_bad_image=self.arguments.on_bad_image,
            checks=check_options(self.arguments),
        )
        count = min(self.arguments.eval_records, len(source))
        return Subset(dataset, [number * len(source) // count for number in range(count)])

    def _options(self, processor: MustelaProcessor) -> RenderOptions:
        """Return how texts are written; unset, numbers stay in the style that the model was trained in."""
        style = self.arguments.coordinates or processor.settings.coordinates
        # A model that was built without a region encoder has no token for regions.
        shown = self.options.add_region_feature and processor.settings.region_token is not None
        return replace(self.options, coordinates=style, add_region_feature=shown)

    def lengths(self) -> list[int]:
        """Return a rough length of every sample, for grouping: the characters of its turns."""
        lengths: list[int] = self.files.source.column("characters").tolist()
        return lengths

    def with_image(self) -> list[bool]:
        """Say of every sample whether it has an image."""
        return [count > 0 for count in self.files.source.column("images").tolist()]


def load_data(stage: StageArguments) -> StageData:
    """Read and check all records of a stage.

    Raises:
        RecordError: records that are not valid, all faults in one message, unless they are to be skipped.
        ConfigError: the options contradict each other.
    """
    data = stage.data
    options = check_options(data)
    # One process of a machine reads and checks; the others find what it kept.
    with stage.training.main_process_first(desc="reading the data"):
        files = open_files(
            data.data_path,
            data.image_folder,
            multiples=data.data_multiple,
            options=options,
            on_bad_record=data.on_bad_record,
            cache_dir=data.data_cache_dir,
            seed=stage.training.seed if stage.training.data_seed is None else stage.training.data_seed,
        )
        held_out = _open_held_out(data)
    return StageData(files, held_out, data, render_options(stage.model, data))


def held_out_records(data: DataArguments) -> list[Record]:
    """Read the held-out records; an empty list without `eval_data_path`.

    Their pictures lie below `held_out_folder`: where there are several folders, paths begin at their parent.
    """
    files = _open_held_out(data)
    if files is None:
        return []
    root = held_out_folder(data)
    return [_moved_below(root, record, folder) for record, folder in _located(files.source)]


def held_out_folder(data: DataArguments) -> Path | None:
    """Return the folder that all pictures of the held-out records lie below; None without such records."""
    folders = dict.fromkeys(held_out_folders(data))
    if len(folders) < 2:
        return next((Path(folder) for folder in folders), None)
    return Path(os.path.commonpath([Path(folder).absolute() for folder in folders]))


def held_out_folders(data: DataArguments) -> list[str]:
    """Return the image folder of each held-out file: its own, that of the training files, or the file's.

    Raises ConfigError when there are neither as many folders as files nor one.
    """
    files = data.eval_data_path
    folders = data.eval_image_folder or list(dict.fromkeys(data.image_folder))
    if not folders:
        return [str(Path(file).parent) for file in files]
    if len(folders) == 1:
        return folders * len(files)
    if len(folders) != len(files):
        which = "--eval_image_folder has" if data.eval_image_folder else "the training files have"
        raise ConfigError(
            f"{which} {len(folders)} image folders and --eval_data_path {len(files)} files: give "
            "--eval_image_folder one folder for each file, or one for all."
        )
    return folders


def _moved_below(root: Path | None, record: Record, folder: Path | None) -> Record:
    """Return a record whose image paths begin at `root` and not at its own folder below it."""
    if root is None or folder is None or folder == root:
        return record
    way = folder.absolute().relative_to(root.absolute())
    images = tuple(replace(image, path=(way / image.path).as_posix()) for image in record.images)
    return replace(record, images=images)


def _open_held_out(data: DataArguments) -> Files | None:
    if not data.eval_data_path:
        return None
    return open_files(
        data.eval_data_path,
        held_out_folders(data),
        multiples=[],
        options=check_options(data),
        on_bad_record=data.on_bad_record,
        cache_dir=data.data_cache_dir,
        seed=0,
    )


def check_options(data: DataArguments) -> CheckOptions:
    """Collect how records are read and checked."""
    return CheckOptions(
        box_format=data.box_format,
        data_format=data.data_format,
        size_policy=data.size_policy,
        images=data.check_images,
        absolute_paths=data.absolute_paths,
        symlinks=data.symlinks,
        max_image_pixels=data.max_image_pixels,
    )


def render_options(model: ModelArguments, data: DataArguments) -> RenderOptions:
    """Collect how regions are written into texts."""
    has_feature = model.add_region_feature if model.region_encoder is None else model.region_encoder != "none"
    return RenderOptions(
        point_input_sample=data.point_input_sample,
        refer_previous_point=data.refer_previous_point,
        no_coor=model.no_coor,
        add_region_feature=has_feature,
        clamp="last_pixel" if model.sampling_geometry == "original" else "edge",
        box_input=data.box_input,
    )


def augmentation_of(data: DataArguments) -> Augmentation:
    """Collect how pictures change."""
    return Augmentation(
        flip=data.augment_flip,
        turn=data.augment_turn,
        color=data.augment_color,
        crop=data.augment_crop,
        crop_visible=data.augment_crop_visible,
        scale=data.augment_scale,
        flip_words=data.augment_flip_words,
    )


def tokenizer_texts(data: Sequence[StageData]) -> Iterator[str]:
    """Yield texts of all stages for a tokenizer to learn from, coordinates in place of placeholders."""
    seen: set[tuple[str, ...]] = set()
    left = _TEXTS_FOR_A_TOKENIZER
    for stage in data:
        key = tuple(stage.arguments.data_path)
        if key in seen:
            continue
        seen.add(key)
        for record, _ in _located(stage.files.source):
            if left <= 0:
                return
            left -= 1
            for turn in record.turns:
                yield _PLACEHOLDER.sub("[0, 1, 2, 3]", turn.text)


def _located(source: RecordSource) -> Iterator[tuple[Record, Path | None]]:
    """Yield every record with its image folder."""
    for index in range(len(source)):
        yield source[index]


def _digit_weights(data: DataArguments) -> DigitWeights | None:
    if not data.coordinate_digit_weights:
        return None
    if data.coordinates in ("json_yx", "unit", "pixels", "tokens", "resized"):
        raise ConfigError(
            "coordinate_digit_weights are weights of the digits of bins; with coordinates"
            f" {data.coordinates}, leave them empty."
        )
    hundreds, tens, units = data.coordinate_digit_weights
    return hundreds, tens, units
