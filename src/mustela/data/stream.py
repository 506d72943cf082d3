"""Samples of files that are read as they come: nothing is kept, and the first batch comes at once."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mustela.data.check import CheckOptions
from mustela.data.formats import Found, Recognised, Source
from mustela.data.formats.choose import choose_stream
from mustela.data.found import found_images, found_record
from mustela.data.making import SampleMaker
from mustela.data.rounds import SampleTooLongError
from mustela.errors import ConfigError, ImageError, RecordError

logger = logging.getLogger(__name__)

# Position in all files, number of the file, and what was found there.
_Entry: TypeAlias = tuple[int, int, Found]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a pass had come: batches that a process took of its loader, and their size."""

    batches: int = 0
    batch_size: int = 1


class RecordStream(IterableDataset[dict[str, Tensor]]):
    """Samples of one or more files of conversations or shards of WebDataset, in one pass.

    Over all processes and workers each record comes once an epoch: of `n` readers, reader `k` takes every
    n-th record from the k-th on. A sample doesn't depend on their number. One that can't be made is replaced
    by the next of the same reader, and logged.

    Args:
        paths: files, or folders of tar files.
        maker: makes the samples.
        folders: image folders, one for each path, or None: pictures lie beside the file, or inside the shard.
        checks: how records are checked.
        rank: number of this process.
        processes: number of all processes.
        shuffle: records that are held back to be mixed; 0 keeps the order of the files.
        on_bad: what to do with records that have errors, and with pictures that can't be read.

    Raises:
        ConfigError: the numbers contradict each other.
        RecordError: a file can't be read, or is in a format that has to be converted first.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        maker: SampleMaker,
        *,
        folders: Sequence[str | Path | None] = (),
        checks: CheckOptions | None = None,
        rank: int = 0,
        processes: int = 1,
        shuffle: int = 0,
        on_bad: Literal["error", "skip"] = "error",
    ) -> None:
        if not 0 <= rank < processes:
            raise ConfigError(f"rank {rank} of {processes} processes: ranks are counted from 0.")
        if shuffle < 0 or on_bad not in ("error", "skip"):
            raise ConfigError(f"shuffle is {shuffle} and on_bad {on_bad!r}: a number from 0; error or skip.")
        if folders and len(folders) != len(paths):
            raise ConfigError(f"{len(paths)} paths, {len(folders)} folders. Give one for each path.")
        self.checks = checks or CheckOptions()
        self.maker, self.rank, self.processes = maker, rank, processes
        self.shuffle, self.on_bad = shuffle, on_bad
        self._sources = [
            Source(Path(path), None if folder is None else Path(folder))
            for path, folder in zip(paths, folders or [None] * len(paths), strict=True)
        ]
        self._formats: list[Recognised] = [choose_stream(path, self.checks.data_format) for path in paths]
        self.epoch = 0
        self._start = _Place()

    @property
    def reading(self) -> list[str]:
        """A sentence for each path on what it is read as."""
        return [each.because for each in self._formats]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that samples are drawn for, from its beginning."""
        self.epoch = epoch
        self._start = _Place()

    def go_on_after(self, *, epoch: int, batches: int, batch_size: int) -> None:
        """Let the next pass begin in the middle of an epoch, where an interrupted one stopped.

        What comes is what would have come, with the same number of processes and workers.

        Args:
            epoch: that was interrupted.
            batches: that this process took of its loader.
            batch_size: of the loader.

        Raises:
            ConfigError: a negative number, or no batch size.
        """
        if min(epoch, batches) < 0 or batch_size < 1:
            raise ConfigError(f"epoch {epoch}, {batches} batches of {batch_size}: counts are not negative.")
        self.epoch = epoch
        self._start = _Place(batches, batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        # A loader takes a batch of each worker in turn, and a new one begins with the first worker.
        worker = (worker + self._start.batches) % workers
        batches = (self._start.batches - worker + workers - 1) // workers
        reader = self.rank * workers + worker
        entries: Iterator[_Entry] = islice(self._entries(), reader, None, self.processes * workers)
        if self.shuffle:
            rng = random.Random(f"{self.maker.seed} {self.epoch} {reader}")
            entries = mixed(entries, self.shuffle, rng)
        waiting = 0
        for position, index, found in islice(entries, batches * self._start.batch_size, None):
            waiting += 1
            sample = self._sample(found, position=position, source=self._sources[index])
            if sample is not None:
                yield from [sample] * waiting
                waiting = 0

    def _entries(self) -> Iterator[_Entry]:
        """Yield everything in all files with its position and the number of its file."""
        position = 0
        for index, (chosen, source) in enumerate(zip(self._formats, self._sources, strict=True)):
            for found in chosen.format.read(source):
                yield position, index, found
                position += 1

    def _sample(self, found: Found, *, position: int, source: Source) -> dict[str, Tensor] | None:
        try:
            record = found_record(found, source, checks=self.checks)
            try:
                images = found_images(record, found, source, checks=self.checks)
                return self.maker.make(record, images, epoch=self.epoch, position=position)
            except SampleTooLongError as error:
                logger.warning('Skipped: record "%s": %s', record.id, error)
        except (RecordError, ImageError) as error:
            if self.on_bad == "error":
                raise
            logger.warning("Skipped: %s", error)
        return None


def mixed(entries: Iterator[_T], size: int, rng: random.Random) -> Iterator[_T]:
    """Yield entries in random order, holding back `size` of them."""
    held = list(islice(entries, size))
    for entry in entries:
        place = rng.randrange(size)
        yield held[place]
        held[place] = entry
    rng.shuffle(held)
    yield from held
