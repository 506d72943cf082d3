import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mustela.errors import RegionError
from mustela.regions import Box, Mask, sample_points, sample_window
from mustela.regions.sampling import draw_ranks, mask_points

rasters = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)).filter(
    np.any
)


@settings(deadline=None)
@given(rasters, st.integers(1, 200), st.one_of(st.none(), st.integers(0, 9)))
def test_points_are_pixel_centres_of_the_region(raster, count, seed):
    def draw():
        return sample_points(raster, count=count, rng=None if seed is None else np.random.default_rng(seed))

    points = draw()
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    assert (points % 1 == 0.5).all()
    columns, rows = (points - 0.5).astype(int).T
    assert raster[rows, columns].all()
    assert (draw() == points).all()
    total = int(raster.sum())
    assert len(np.unique(points, axis=0)) == min(count, total)
    if total <= count:
        ys, xs = np.nonzero(raster)
        assert (np.unique(points[:, ::-1], axis=0) == np.stack([ys, xs], axis=1) + 0.5).all()
    assert (np.diff(rows * raster.shape[1] + columns) >= 0).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 200), st.one_of(st.none(), st.integers(0, 9)))
def test_a_window_gives_the_points_of_its_raster(data, count, seed):
    left, top = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 20))
    right, bottom = data.draw(st.integers(left + 1, 32)), data.draw(st.integers(top + 1, 24))
    raster = np.zeros((24, 32), bool)
    raster[top:bottom, left:right] = True
    made = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
    points = sample_window(((left, right), (top, bottom)), count=count, rng=made[0])
    assert (points == sample_points(raster, count=count, rng=made[1])).all()
    assert points.dtype == np.float32
    # What is drawn next must not depend on how the points were drawn.
    assert seed is None or made[0].random() == made[1].random()


@settings(deadline=None)
@given(st.lists(rasters, min_size=1, max_size=4), st.integers(1, 200))
def test_masks_give_the_points_of_their_transposed_rasters_in_row_major_order(rasters, count):
    drawn = [draw_ranks(int(raster.sum()), count, np.random.default_rng(0)) for raster in rasters]
    points = mask_points([Mask.from_array(raster) for raster in rasters], np.stack(drawn))
    assert points.dtype == np.float32
    for raster, of_mask in zip(rasters, points, strict=True):
        down = np.ascontiguousarray(raster.T)
        turned = sample_points(down, count=count, rng=np.random.default_rng(0))[:, ::-1]
        assert (of_mask == turned[np.lexsort((turned[:, 0], turned[:, 1]))]).all()


def test_runs_without_pixels_change_no_point():
    mask = Mask.from_rle({"size": [3, 4], "counts": [2, 0, 1, 2, 0, 3, 4, 0]})
    points = mask_points([mask], np.arange(5)[None])[0]
    assert points.tolist() == [[1.5, 0.5], [2.5, 0.5], [1.5, 1.5], [2.5, 1.5], [1.5, 2.5]]


@pytest.mark.parametrize("height", [64, 128, 256, 512, 1024])
def test_fixed_points_spread_over_both_axes(height):
    points = sample_points(np.ones((height, 300), bool), count=512, rng=None)
    for axis, side in ((0, 300), (1, height)):
        histogram, _ = np.histogram(points[:, axis], bins=8, range=(0, side))
        assert histogram.min() > 0.7 * 512 / 8
        assert histogram.max() < 1.3 * 512 / 8


def test_one_pixel_is_repeated():
    points = sample_points(Box(3, 2, 4, 3).raster((8, 8)), count=5, rng=None)
    assert points.tolist() == [[3.5, 2.5]] * 5


def test_random_points_follow_the_generator():
    raster = np.ones((40, 40), bool)
    first = sample_points(raster, count=100, rng=np.random.default_rng(0))
    other = sample_points(raster, count=100, rng=np.random.default_rng(1))
    assert not (first == other).all()


def test_impossible_samples_are_errors():
    with pytest.raises(RegionError, match="covers no pixel"):
        sample_points(np.zeros((4, 4), bool), count=5, rng=None)
    with pytest.raises(RegionError, match="at least 1"):
        sample_points(np.ones((4, 4), bool), count=0, rng=None)
    with pytest.raises(RegionError, match="covers no pixel"):
        sample_window(((0, 0), (0, 0)), count=5, rng=None)
    with pytest.raises(RegionError, match="bool array"):
        sample_points(np.ones((4, 4)), count=1, rng=None)
