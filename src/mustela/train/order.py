"""The order of samples: a function of seed and epoch, whatever the workers, processes and interruptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import torch
from torch.utils.data import Dataset, Sampler

Strategy = Literal["random", "sequential", "group_by_length", "group_by_modality_length"]

# Batches are sorted by length within this many at a time, so that their order stays random.
_BATCHES_SORTED_TOGETHER = 50


class EpochDataset(Protocol):
    """A data set whose samples depend on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that samples are drawn for."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class EpochSampler(Sampler[int]):
    """Sample indices of one epoch after another, with the epoch inside the index.

    An index is ``epoch * length + position``, which `EpochView` takes apart: a worker that fetches ahead, or
    lives on into the next epoch, needs no message about epochs. `accelerate` calls `set_epoch`.

    Args:
        length: number of samples.
        seed: of the shuffling.
        strategy: random, sequential, or batches of similar length (and of one modality).
        lengths: size of each sample, for the grouping strategies.
        with_image: whether each sample has an image, for grouping by modality.
        batch_size: samples that are used together, over all processes and accumulation steps.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        strategy: Strategy = "random",
        lengths: Sequence[int] = (),
        with_image: Sequence[bool] = (),
        batch_size: int = 1,
    ) -> None:
        self.length = length
        self.seed = seed
        self.strategy = strategy
        self.lengths = lengths
        self.with_image = with_image
        self.batch_size = batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * self.length
        return (start + position for position in self.positions())

    def positions(self) -> list[int]:
        """List the samples of the epoch in order."""
        if self.strategy == "sequential":
            return list(range(self.length))
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch))
        shuffled = torch.randperm(self.length, generator=generator).tolist()
        if self.strategy == "random":
            return shuffled
        kinds = self.with_image if self.strategy == "group_by_modality_length" else [True] * self.length
        return _grouped(
            shuffled, lengths=self.lengths, kinds=kinds, batch_size=self.batch_size, generator=generator
        )


class EpochView(Dataset[Any]):
    """A data set addressed by the indices of `EpochSampler`."""

    def __init__(self, dataset: EpochDataset) -> None:
        self.dataset = dataset
        self.epoch = -1

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        epoch, position = divmod(index, len(self.dataset))
        if epoch != self.epoch:
            self.dataset.set_epoch(epoch)
            self.epoch = epoch
        return self.dataset[position]


def _mix(seed: int, epoch: int) -> int:
    """Make one generator seed of two numbers, such that (1, 0) and (0, 1) differ."""
    return (seed * 1_000_003 + epoch) % 2**63


def _grouped(
    shuffled: list[int],
    *,
    lengths: Sequence[int],
    kinds: Sequence[bool],
    batch_size: int,
    generator: torch.Generator,
) -> list[int]:
    """Put shuffled samples into batches of one kind and similar length; leftovers form the last batches."""
    batches: list[list[int]] = []
    leftover: list[int] = []
    for kind in (True, False):
        members = [position for position in shuffled if kinds[position] is kind]
        span = batch_size * _BATCHES_SORTED_TOGETHER
        for at in range(0, len(members), span):
            together = sorted(members[at : at + span], key=lambda position: -lengths[position])
            whole = len(together) // batch_size * batch_size
            batches += [together[start : start + batch_size] for start in range(0, whole, batch_size)]
            leftover += together[whole:]
    order = torch.randperm(len(batches), generator=generator).tolist()
    return [position for number in order for position in batches[number]] + leftover
