"""Packing: which samples share a row, so that as little of it as possible is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from mustela.data.collator import join_samples
from mustela.data.dataset import RecordDataset
from mustela.errors import RecordError


def fill_rows(lengths: Sequence[int], row_length: int) -> npt.NDArray[np.int64]:
    """Put lengths into as few rows as best-fit decreasing finds, at most 11/9 of the fewest possible.

    Args:
        lengths: descending, each at most `row_length`.
        row_length: what a row holds.

    Returns:
        `(samples,)` the row of each; rows are numbered from 0.
    """
    open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]
    # Bit n says that there is a row with room for exactly n.
    rooms = 0
    rows = np.empty(len(lengths), dtype=np.int64)
    count = 0
    for number, length in enumerate(lengths):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms &= ~(1 << room)
        else:
            room, row = row_length, count
            count += 1
        open_rows[room - length].append(row)
        rooms |= 1 << (room - length)
        rows[number] = row
    return rows


class RowPlan:
    """Rows of samples: as many in every epoch, with other company in each.

    How many rows there are and how full they get hangs on the lengths alone; among samples of one length, the
    epoch decides which goes where.

    Args:
        lengths: of the samples; 0 leaves one out.
        row_length: what a row holds.
        seed: of the company.

    Attributes:
        fill: share of the rows that samples take.
    """

    def __init__(self, lengths: npt.ArrayLike, *, row_length: int, seed: int) -> None:
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._used = np.flatnonzero(self._lengths)
        self._seed = seed
        self._slots = fill_rows(np.sort(self._lengths[self._used])[::-1].tolist(), row_length)
        self._count = int(self._slots.max(initial=-1)) + 1
        self.fill = int(self._lengths.sum()) / max(self._count * row_length, 1)

    def __len__(self) -> int:
        return self._count

    @property
    def samples(self) -> int:
        """Number of samples in all rows."""
        return len(self._used)

    def rows(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Return the samples of each row, longest first."""
        shuffled = np.random.default_rng((self._seed, epoch)).permutation(self._used)
        by_length = shuffled[np.argsort(-self._lengths[shuffled], kind="stable")]
        by_row = by_length[np.argsort(self._slots, kind="stable")]
        return np.split(by_row, np.cumsum(np.bincount(self._slots, minlength=self._count))[:-1])


class PackedDataset(Dataset[dict[str, Tensor]]):
    """Rows of samples of a data set, by a plan made from how long they are at most.

    Args:
        dataset: the samples; those that it skips are left out of their row.
        row_length: ids a row. Augmentation may add a few, see `RecordDataset.longest`.

    Raises:
        RecordError: no sample fits into a row.
    """

    def __init__(self, dataset: RecordDataset, *, row_length: int) -> None:
        self.dataset = dataset
        lengths = [dataset.longest(index) or 0 for index in range(len(dataset))]
        self.plan = RowPlan(lengths, row_length=row_length, seed=dataset.seed)
        if not len(self.plan):
            raise RecordError(
                f"packing: none of the {len(dataset)} records gives a sample of at most {row_length} ids; the"
                " last reasons are in the log. Raise model_max_length."
            )
        self._rows = self.plan.rows(dataset.epoch)

    @property
    def skipped(self) -> dict[str, int]:
        """How often a sample was left out, by reason, in all workers of this process."""
        return self.dataset.skipped

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that rows and samples are drawn for."""
        self.dataset.set_epoch(epoch)
        self._rows = self.plan.rows(epoch)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        for row in range(index, index + len(self)):
            samples = [self.dataset.sample_or_none(int(one)) for one in self._rows[row % len(self)]]
            kept = [sample for sample in samples if sample is not None]
            if kept:
                return join_samples(kept)
        raise RecordError("none of the rows gives a sample; the last reasons are in the log.")
