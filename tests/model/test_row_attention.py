"""Attention in rows of several conversations against one with a mask over all of the row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mustela.model.row_attention import RowLayout


def rows_of(documents: list[list[list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mask, segments and positions; a document is the lengths of its beginning and its branches."""
    rows = []
    for row in documents:
        segments, positions = [], []
        for number, (shared, *branches) in enumerate(row):
            segments += [(number, 0)] * shared
            positions += range(shared)
            for branch, length in enumerate(branches, start=1):
                segments += [(number, branch)] * length
                positions += range(shared, shared + length)
        rows.append((segments, positions))
    longest = max(len(segments) for segments, _ in rows) + 2
    mask, places = (
        torch.zeros(len(rows), longest, dtype=torch.long),
        torch.zeros(len(rows), longest, dtype=torch.long),
    )
    names = torch.full((len(rows), longest, 2), -1)
    for number, (segments, positions) in enumerate(rows):
        names[number, : len(segments)] = torch.tensor(segments)
        places[number, : len(positions)] = torch.tensor(positions)
        mask[number, : len(segments)] = 1
    return mask, names, places


def masked(query, key, value, mask, segments, positions, window):
    length = mask.shape[1]
    document, branch = segments.unbind(-1)
    seen = (document[:, None, :] == document[:, :, None]) & mask[:, None, :].bool()
    seen &= (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen &= torch.ones(length, length, dtype=torch.bool).tril()
    if window is not None:
        seen &= positions[:, :, None] - positions[:, None, :] < window
    seen |= torch.eye(length, dtype=torch.bool)
    answer = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None])
    return answer.transpose(1, 2) * mask[:, :, None, None]


def random_rows(seed: int) -> list[list[list[int]]]:
    rng = np.random.default_rng(seed)
    return [
        [
            [int(rng.integers(0, 30)), *rng.integers(1, 70, int(rng.integers(1, 9))).tolist()]
            for _ in range(int(rng.integers(1, 4)))
        ]
        for _ in range(3)
    ]


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize(
    "documents", [[[[9]]], [[[5, 3, 70], [7]], [[0, 2, 2]]], *map(random_rows, range(4))]
)
def test_answers_and_gradients_are_those_of_the_mask(documents, window):
    mask, segments, positions = rows_of(documents)
    shape = mask.shape[0], 2, mask.shape[1], 8
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for _ in range(3)]
    weights = torch.randn(shape, generator=generator).transpose(1, 2)
    expected = masked(*inputs, mask, segments, positions, window)
    found = RowLayout.of(mask, segments, positions).attend(*inputs, window=window)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_row_does_not_touch_another():
    mask, segments, positions = rows_of([[[6, 3, 4]], [[6, 3, 4]]])
    layout = RowLayout.of(mask, segments, positions)
    inputs = [torch.randn(2, 2, mask.shape[1], 8) for _ in range(3)]
    before = layout.attend(*inputs)
    changed = [each.clone() for each in inputs]
    for each in changed:
        each[1] += 1.0
    after = layout.attend(*changed)
    assert torch.equal(after[0], before[0])
    assert not torch.isclose(after[1, 0], before[1, 0]).all()
