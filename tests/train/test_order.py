"""The order of samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch.utils.data import BatchSampler, DataLoader

from mustela.data.mixture import Mixture, Part, Source
from mustela.data.native import write_records
from mustela.data.record import Record, Turn
from mustela.data.store import open_records
from mustela.train.order import EpochSampler, EpochView


class Numbers:
    """Samples that tell their epoch and position."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.epoch, index


def epochs(sampler: EpochSampler, count: int) -> Iterator[list[int]]:
    for epoch in range(count):
        sampler.set_epoch(epoch)
        yield list(sampler)


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length", "group_by_modality_length"])
def test_every_sample_comes_once_an_epoch(strategy):
    sampler = EpochSampler(
        23,
        seed=1,
        strategy=strategy,
        lengths=list(range(23)),
        with_image=[index % 3 > 0 for index in range(23)],
        batch_size=4,
    )
    first, second = epochs(sampler, 2)
    assert sorted(first) == list(range(23))
    assert sorted(second) == list(range(23, 46))
    assert (first == [index - 23 for index in second]) == (strategy == "sequential")


def test_order_depends_on_seed_and_epoch_only():
    one, same, other = (EpochSampler(50, seed=seed) for seed in (3, 3, 4))
    assert list(epochs(one, 3)) == list(epochs(same, 3))
    assert list(one) != list(other)


def test_batches_are_of_similar_length_and_of_one_modality():
    lengths = [(7 * index) % 101 for index in range(400)]
    with_image = [index % 4 != 0 for index in range(400)]
    sampler = EpochSampler(
        400,
        seed=0,
        strategy="group_by_modality_length",
        lengths=lengths,
        with_image=with_image,
        batch_size=8,
    )
    order = list(sampler)
    batches = [order[at : at + 8] for at in range(0, 400, 8)]
    one_kind = [len({with_image[index] for index in batch}) == 1 for batch in batches]
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches]
    assert sum(one_kind) >= len(batches) - 2
    assert sorted(spread)[len(spread) // 2] < 15


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_samples_know_their_epoch_whatever_the_workers(workers, persistent):
    if persistent and not workers:
        pytest.skip("persistent workers need workers")
    sampler = EpochSampler(10, seed=0)
    loader = DataLoader(
        EpochView(Numbers(10)),
        sampler=sampler,
        batch_size=3,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=list,
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        samples = [sample for batch in loader for sample in batch]
        assert {seen for seen, _ in samples} == {epoch}
        assert [index for _, index in samples] == sampler.positions()


class Shards:
    """The ids of a mixture's records, as samples."""

    def __init__(self, source: Mixture) -> None:
        self.source = source

    def set_epoch(self, epoch: int) -> None:
        pass

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> str:
        return self.source[index][0].id


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Shards:
    """Twenty-four records in three files of different length."""
    folder = tmp_path_factory.mktemp("shards")
    parts = []
    for name, numbers in {"a": range(13), "b": range(13, 17), "c": range(17, 24)}.items():
        turns = Turn("user", "Hello?"), Turn("assistant", "Hello.")
        write_records(folder / f"{name}.json", (Record(str(number), (), turns) for number in numbers))
        store, _ = open_records(folder / f"{name}.json", cache_dir=folder / "cache")
        assert store is not None
        parts.append(Part(Source(f"{name}.json"), store, np.arange(len(store))))
    return Shards(Mixture(parts))


def seen_by(shards: Shards, rank: int, ranks: int, *, workers: int, epoch: int, skip: int = 0) -> list[str]:
    """Return what a rank sees in an epoch, after the batches that an interrupted run had done."""
    sampler = EpochSampler(len(shards), seed=3)
    sampler.set_epoch(epoch)
    batches = BatchSamplerShard(BatchSampler(sampler, 2, drop_last=False), ranks, rank)
    left = SkipBatchSampler(batches, skip)
    loader = DataLoader(EpochView(shards), batch_sampler=left, num_workers=workers, collate_fn=list)
    return [identity for batch in loader for identity in batch]


@pytest.mark.parametrize(("ranks", "workers"), [(1, 0), (2, 0), (3, 2)])
def test_records_of_shards_come_once_an_epoch_over_ranks_and_workers(shards, ranks, workers):
    for epoch in range(2):
        seen = [seen_by(shards, rank, ranks, workers=workers, epoch=epoch) for rank in range(ranks)]
        assert sorted((one for each in seen for one in each), key=int) == [
            str(number) for number in range(24)
        ]
        assert len({len(one) for one in seen}) == 1


def test_an_epoch_over_shards_goes_on_in_its_middle(shards):
    for rank in range(2):
        whole = seen_by(shards, rank, 2, workers=0, epoch=1)
        assert seen_by(shards, rank, 2, workers=1, epoch=1, skip=3) == whole[6:]
