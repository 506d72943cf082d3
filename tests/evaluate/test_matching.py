from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mustela.evaluate.matching import match_one_to_one, matched_ious

MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: npst.arrays(
        np.float64, shape, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0])
    )
)


def best_total(values: np.ndarray) -> float:
    if values.shape[0] > values.shape[1]:
        values = values.T
    rows, columns = values.shape
    return max(
        sum(values[row, order[row]] for row in range(rows)) for order in permutations(range(columns), rows)
    )


@given(MATRICES)
def test_the_matching_is_one_to_one_complete_and_the_best(values: np.ndarray) -> None:
    pairs = match_one_to_one(values)
    assert len(pairs) == min(values.shape)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert sum(values[pair] for pair in pairs) == pytest.approx(best_total(values))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nothing_matches_nothing(shape: tuple[int, int]) -> None:
    assert match_one_to_one(np.zeros(shape)) == []


def test_missing_and_surplus_boxes_count_as_zero() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    far = (50.0, 50.0, 60.0, 60.0)
    assert matched_ious([box], [box]).tolist() == [1.0]
    assert sorted(matched_ious([box], [far, box]).tolist()) == [0.0, 1.0]
    assert sorted(matched_ious([far, box, box], [box]).tolist()) == [0.0, 0.0, 1.0]
    assert matched_ious([], [box]).tolist() == [0.0]
    assert matched_ious([], []).tolist() == []


def test_one_box_does_not_serve_two_truths() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert sorted(matched_ious([box], [box, box]).tolist()) == [0.0, 1.0]
