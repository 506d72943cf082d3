"""Samples of files that are only ever read forward, by position in one endless order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from mustela.data.check import CheckOptions
from mustela.data.formats import FORMATS, Found, Recognised, Source
from mustela.data.formats.choose import choose_stream
from mustela.data.found import found_images, found_record
from mustela.data.making import SampleMaker
from mustela.data.record import Record
from mustela.data.rounds import SampleTooLongError
from mustela.data.skipping import SkipCounter
from mustela.data.stream import mixed
from mustela.errors import ImageError, RecordError

OnBad = Literal["error", "skip"]

# Files that are read side by side, so that those of different kinds are mixed however long they are.
_OPEN = 16
# Records without a sample in a row that are looked at before it is said that there is none.
_MOST_TRIED = 1000


@dataclass(frozen=True)
class _File:
    """A file, or a folder that is read as one, with the name of its format and its size in bytes."""

    source: Source
    format: str
    size: int


class _Entry(NamedTuple):
    """What a file holds, with the number of the file and its own in it."""

    file: int
    number: int
    found: Found


class RecordFiles:
    """Files of conversations, tables, and shards of WebDataset, none of which is read before it is needed.

    A folder of shards counts as the files in it.

    Args:
        sources: files or folders, and where their pictures lie.
        checks: how records are checked.

    Raises:
        RecordError: one can't be read, or is in a format that has to be converted first.
    """

    def __init__(self, sources: Sequence[Source], *, checks: CheckOptions) -> None:
        self.checks = checks
        chosen = [choose_stream(source.path, checks.data_format) for source in sources]
        self.reading = [each.because for each in chosen]
        self.files = [
            _File(replace(source, path=path), each.format.name, _size(path))
            for source, each in zip(sources, chosen, strict=True)
            for path in _parts(source.path, each)
        ]

    def position(self, entry: _Entry) -> int:
        """Return a number that belongs to an entry alone."""
        return entry.number * len(self.files) + entry.file

    def entries(self, number: int) -> Iterator[_Entry]:
        """Yield what a file holds."""
        file = self.files[number]
        for index, found in enumerate(FORMATS[file.format].read(file.source)):
            yield _Entry(number, index, found)

    def in_order(self) -> Iterator[_Entry]:
        """Yield what the files hold, one after another."""
        for number in range(len(self.files)):
            yield from self.entries(number)

    def interleaved(self, rng: random.Random) -> Iterator[_Entry]:
        """Yield what the files hold, in random turns by size, some files at a time."""
        waiting = list(range(len(self.files)))
        rng.shuffle(waiting)
        opened: list[Iterator[_Entry]] = []
        sizes: list[int] = []
        while waiting or opened:
            while waiting and len(opened) < _OPEN:
                number = waiting.pop()
                opened.append(self.entries(number))
                sizes.append(self.files[number].size)
            chosen = rng.choices(range(len(opened)), sizes)[0] if len(opened) > 1 else 0
            entry = next(opened[chosen], None)
            if entry is None:
                del opened[chosen], sizes[chosen]
            else:
                yield entry

    def record(self, entry: _Entry) -> Record:
        """Return the record of an entry; raises RecordError where there is none without errors."""
        return found_record(entry.found, self.files[entry.file].source, checks=self.checks)

    def records(self) -> Iterator[Record]:
        """Yield the records that have no errors, in the order of the files."""
        for entry in self.in_order():
            try:
                yield self.record(entry)
            except RecordError:
                continue

    def names(self, positions: Sequence[int]) -> list[str]:
        """Return ids of records by their positions; reads their files again."""
        count = len(self.files)
        found: dict[int, str] = {}
        for number in {position % count for position in positions}:
            wanted = {position // count for position in positions if position % count == number}
            for entry in self.entries(number):
                if entry.number in wanted:
                    found[self.position(entry)] = self.record(entry).id
                    wanted.remove(entry.number)
                if not wanted:
                    break
        return [found.get(position, str(position)) for position in positions]


class StreamedSamples(Dataset[dict[str, Tensor]]):
    """Samples of files that are read as they come, by place in an order without end.

    The order is that of epoch 0, then of epoch 1 and so on, and every record comes once an epoch. Order and
    samples are functions of the seed: neither processes nor workers nor an interruption change them. Each
    worker reads all files and makes those samples that it is asked for, at growing places; at a smaller one
    it begins again. Reading up to a place opens no picture.

    Args:
        files: what is read.
        maker: makes the samples; its seed decides the order.
        length: samples that are used, of all epochs together.
        shuffle: read files side by side and in random order; False keeps the order of files and records.
        buffer_size: with `shuffle`, records that are held back to be mixed.
        on_bad_record: `skip` puts the next sample in the place of a record that has errors.
        on_bad_image: the same where a picture can't be read.
    """

    def __init__(
        self,
        files: RecordFiles,
        maker: SampleMaker,
        *,
        length: int,
        shuffle: bool = True,
        buffer_size: int = 1000,
        on_bad_record: OnBad = "error",
        on_bad_image: OnBad = "error",
    ) -> None:
        self.files = files
        self.maker = maker
        self.length = length
        self.shuffle = shuffle
        self.buffer_size = buffer_size
        self.on_bad_record = on_bad_record
        self.on_bad_image = on_bad_image
        self._skips = SkipCounter("too_long", "bad_image", "bad_record")
        # Entries of an epoch, once one was read to its end.
        self._count: int | None = None
        self._coming: Iterator[tuple[int, int, _Entry]] = iter(())
        self._held: deque[tuple[int, int, _Entry]] = deque()
        self._at = -1

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: places go on over epochs."""

    @property
    def skipped(self) -> dict[str, int]:
        """How often a sample was replaced by the next, by reason, in all workers of this process."""
        return self._skips.counts

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        if not 0 <= place < self.length:
            raise IndexError(f"sample {place} of {self.length}")
        if self._at < 0 or place < self._at:
            self._held.clear()
            self._coming = self._from(place)
        self._at = place
        while self._held and self._held[0][0] < place:
            self._held.popleft()
        tried = 0
        while True:
            if tried == len(self._held):
                self._held.append(self._next(place))
            _, epoch, entry = self._held[tried]
            sample = self._sample_or_none(entry, epoch)
            if sample is not None:
                return sample
            tried += 1
            most = min(_MOST_TRIED, self._count or _MOST_TRIED)
            if tried >= most:
                raise RecordError(
                    f"none of {most} records in a row gives a sample; the last reasons are in the log."
                    " Raise model_max_length, or check image_folder."
                )

    def _next(self, place: int) -> tuple[int, int, _Entry]:
        """Read on, up to a place or, where that was passed already, by one."""
        for coming in self._coming:
            if coming[0] >= place:
                return coming
        raise AssertionError("the order has no end")

    def _from(self, place: int) -> Iterator[tuple[int, int, _Entry]]:
        """Yield place, epoch and entry from the epoch of a place on, or from one before."""
        epoch, start = 0, 0
        while True:
            if self._count is not None and start + self._count <= place:
                epoch, start = epoch + 1, start + self._count
                continue
            number = -1
            for number, entry in enumerate(self._epoch(epoch)):
                yield start + number, epoch, entry
            if number < 0:
                raise RecordError(f"no record in {', '.join(str(f.source.path) for f in self.files.files)}.")
            self._count = number + 1
            epoch, start = epoch + 1, start + self._count

    def _epoch(self, epoch: int) -> Iterator[_Entry]:
        if not self.shuffle:
            return self.files.in_order()
        rng = random.Random(f"{self.maker.seed} {epoch}")
        entries = self.files.interleaved(rng)
        return mixed(entries, self.buffer_size, rng) if self.buffer_size else entries

    def _sample_or_none(self, entry: _Entry, epoch: int) -> dict[str, Tensor] | None:
        source, checks = self.files.files[entry.file].source, self.files.checks
        try:
            record = self.files.record(entry)
        except RecordError as error:
            if self.on_bad_record == "error":
                raise
            self._skips.count("bad_record", str(error))
            return None
        try:
            images = found_images(record, entry.found, source, checks=checks)
            return self.maker.make(record, images, epoch=epoch, position=self.files.position(entry))
        except SampleTooLongError as error:
            self._skips.count("too_long", f'record "{record.id}": {error}')
        except ImageError as error:
            if self.on_bad_image == "error":
                raise
            self._skips.count("bad_image", str(error))
        return None


def _parts(path: Path, chosen: Recognised) -> list[Path]:
    """Return the shards of a folder of them, else the path itself."""
    if chosen.format is FORMATS["webdataset"] and path.is_dir():
        return sorted(path.rglob("*.tar"))
    return [path]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return max(sum(each.stat().st_size for each in files), 1)
