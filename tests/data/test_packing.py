"""Which samples share a row."""

from __future__ import annotations

import numpy as np
import pytest

from mustela.data.dataset import RecordDataset
from mustela.data.packing import RowPlan, fill_rows
from mustela.data.record import Record, Turn
from mustela.data.render import RenderOptions
from mustela.data.rounds import SampleTooLongError

SKEWED = np.random.default_rng(0).lognormal(5.2, 0.7, 3000).clip(20, 2048).astype(int)


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [([7, 5, 3, 3, 2], [0, 1, 0, 1, 1]), ([10, 10], [0, 1]), ([6, 5, 5, 4], [0, 1, 1, 0]), ([], [])],
)
def test_best_fit(lengths, rows):
    assert fill_rows(lengths, 10).tolist() == rows


def test_rows_are_full_and_hold_every_sample_once():
    plan = RowPlan(SKEWED, row_length=2048, seed=0)
    rows = plan.rows(0)
    assert len(rows) == len(plan)
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(SKEWED)))
    taken = [int(SKEWED[row].sum()) for row in rows]
    assert max(taken) <= 2048
    assert plan.fill == pytest.approx(sum(taken) / (2048 * len(rows)))
    assert plan.fill > 0.97


def test_every_epoch_has_as_many_rows_and_other_company():
    plan = RowPlan(SKEWED, row_length=2048, seed=0)
    first, second, again = ([tuple(row) for row in plan.rows(epoch)] for epoch in (0, 1, 0))
    assert first == again
    assert len(first) == len(second)
    assert sorted(map(len, first)) == sorted(map(len, second))
    assert len(set(first) & set(second)) < len(first) * 0.25
    assert all(SKEWED[list(row)].sum() <= 2048 for row in second)
    other = [tuple(row) for row in RowPlan(SKEWED, row_length=2048, seed=1).rows(0)]
    assert other != first


def test_samples_of_no_length_are_left_out():
    plan = RowPlan([0, 4, 0, 6], row_length=10, seed=0)
    assert [row.tolist() for row in plan.rows(0)] == [[3, 1]]
    assert (plan.samples, plan.fill) == (2, 1.0)
    assert len(RowPlan([0], row_length=10, seed=0)) == 0


class Counting:
    """A processor that drops a round of ten ids where a limit asks for it."""

    def frames(self, coordinates, sizes_wh):
        return None

    def count_tokens(self, rendered, sizes_wh, *, max_length=None, separate_rounds=False):
        if max_length is not None and max_length < 20:
            raise SampleTooLongError(needed=20, limit=max_length)
        return 30 if max_length is None or max_length >= 30 else 20


@pytest.mark.parametrize(("limit", "longest"), [(None, 30), (30, 30), (25, 25), (10, None)])
def test_a_sample_that_drops_rounds_may_take_up_to_the_limit(limit, longest):
    record = Record("a", (), (Turn("user", "Hello?"), Turn("assistant", "Hello.")))
    source = [(record, None)]
    dataset = RecordDataset(source, Counting(), options=RenderOptions(), seed=0, max_length=limit)
    assert dataset.longest(0) == longest
    assert dataset.skipped["too_long"] == (longest is None)
