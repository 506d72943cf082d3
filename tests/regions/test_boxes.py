import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mustela.errors import RegionError
from mustela.regions import Box, box_area, box_iou

boxes = st.lists(st.tuples(*[st.floats(-50, 50)] * 4), max_size=5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([278, 299, 302, 326], [286.5757, 301.9515, 300.103, 326.7515], 0.4943),
        ([0, 0, 10, 10], [0, 5, 10, 10], 0.5),
        ([5, 5, 5, 5], [5, 5, 5, 5], 0.0),
        ([10, 10, 0, 0], [0, 0, 10, 10], 0.0),
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),
        ([9.6, 19.68, 40.32, 60.48], [10, 20, 40, 60], 1200 / (30.72 * 40.8)),
        ([10, 20, 40, 60], [10, 20, 30, 40], 1 / 3),
        ([float("nan"), 0, 10, 10], [0, 0, 10, 10], 0.0),
    ],
)
def test_iou_is_continuous(a, b, expected):
    assert box_iou([a], [b])[0, 0] == pytest.approx(expected, abs=1e-4)


def test_half_is_exactly_half():
    assert box_iou([[0, 0, 10, 10]], [[0, 5, 10, 10]])[0, 0] >= 0.5


@given(boxes, boxes)
def test_iou_is_a_share_and_symmetric(a, b):
    iou = box_iou(np.array(a).reshape(-1, 4), np.array(b).reshape(-1, 4))
    assert iou.shape == (len(a), len(b))
    assert (iou >= 0).all()
    assert (iou <= 1 + 1e-9).all()
    assert np.allclose(iou, box_iou(b, a).T)


def test_iou_of_whole_pixels_agrees_with_counting_them():
    rng = np.random.default_rng(0)
    for _ in range(30):
        (a, b) = np.sort(rng.integers(0, 20, (2, 2, 2)), axis=1).reshape(2, 4)
        if box_area([a, b]).min() == 0:
            continue
        one, two = Box(*a).raster((20, 20)), Box(*b).raster((20, 20))
        assert box_iou([a], [b])[0, 0] == pytest.approx((one & two).sum() / (one | two).sum())


def test_shapes_are_checked():
    assert box_iou([], [[1, 2, 3, 4]]).shape == (0, 1)
    with pytest.raises(RegionError, match=r"\(N, 4\)"):
        box_iou([1, 2, 3, 4], [[1, 2, 3, 4]])
