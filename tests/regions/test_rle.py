import copy
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from mustela.errors import RegionError
from mustela.regions import Mask

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@settings(deadline=None)
@given(masks)
def test_array_to_mask_and_back(mask):
    height, width = mask.shape
    region = Mask.from_array(mask)
    assert (region.raster((width, height)) == mask).all()
    assert region.raster((width, height)).flags.c_contiguous
    assert region.area((width, height)) == mask.sum()
    assert [[region.holds(x, y) for x in range(width)] for y in range(height)] == mask.tolist()
    assert Mask.from_rle(region.to_rle()) == region
    assert Mask.from_rle({"size": [height, width], "counts": region.counts}) == region
    if mask.any():
        ys, xs = np.nonzero(mask)
        assert region.bounds_xyxy() == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@given(masks)
def test_plain_counts_give_the_same_mask(mask):
    counts, value, run = [], False, 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    counts.append(run)
    rle = {"size": list(mask.shape), "counts": counts}
    assert Mask.from_rle(rle) == Mask.from_array(mask)


@pytest.mark.parametrize("counts", ["5220007", b"5220007", [5, 2, 2, 2, 2, 2, 9]])
def test_counts_of_every_type_give_one_mask_and_stay_as_they_are(counts):
    rle = {"size": [4, 6], "counts": counts}
    before = copy.deepcopy(rle)
    first, second = Mask.from_rle(rle), Mask.from_rle(rle)
    assert first == second
    assert rle == before
    assert type(rle["counts"]) is type(counts)
    expected = np.zeros((4, 6), bool)
    expected[1:3, 1:4] = True
    assert (first.raster((6, 4)) == expected).all()
    assert first.area((6, 4)) == 6
    assert json.loads(json.dumps(first.to_rle())) == {"size": [4, 6], "counts": "5220007"}


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [4, 6], "counts": [5, 2, 2]}, "add up to 9 pixels.* has 24"),
        ({"size": [4, 6], "counts": [30]}, "larger than the image"),
        ({"size": [4, 6], "counts": [5, -1, 20]}, "negative"),
        ({"size": [4, 6], "counts": [1.5, 22.5]}, "whole numbers"),
        ({"size": [4, 6], "counts": [True, 23]}, "whole numbers"),
        ({"size": [4, 6], "counts": []}, "add up to 0"),
        ({"size": [4, 7], "counts": "5220007"}, "add up to 24 pixels.* has 28"),
        ({"size": [4, 6], "counts": ""}, "compressed form"),
        ({"size": [4, 6], "counts": "héllo"}, "compressed form"),
        ({"size": [4, 6], "counts": "5220007Q"}, "compressed form"),
        ({"size": [4, 6], "counts": "oooooooooooo0"}, "too large"),
        ({"size": [4, 6], "counts": 24}, "are a int"),
        ({"size": [4], "counts": "h0"}, "size"),
        ({"size": [4.0, 6], "counts": "h0"}, "size"),
        ({"size": [0, 6], "counts": "0"}, "size"),
        ({"counts": "h0"}, "'size' and 'counts'"),
    ],
)
def test_malformed_counts_are_refused(rle, message):
    with pytest.raises(RegionError, match=message):
        Mask.from_rle(rle)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=20))
def test_any_string_is_a_mask_that_fills_the_image_or_refused(counts):
    try:
        mask = Mask.from_rle({"size": [4, 6], "counts": counts})
    except RegionError:
        return
    assert mask.raster((6, 4)).shape == (4, 6)
    assert coco_mask.area({"size": [4, 6], "counts": counts.encode()}) == mask.raster((6, 4)).sum()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["5220007", "h0", "0h0", "", "5220007Q", "oooooooooooo0", "5", "o"]), max_size=4)
)
def test_masks_together_are_those_alone_and_an_error_is_about_one(several):
    objects = [{"size": [4, 6], "counts": counts} for counts in several]
    try:
        alone = [Mask.from_rle(each) for each in objects]
    except RegionError as error:
        with pytest.raises(RegionError, match=re.escape(str(error))):
            Mask.from_rles(objects)
        return
    together = Mask.from_rles(objects)
    assert together == alone
    assert [mask.ends.tolist() for mask in together] == [mask.ends.tolist() for mask in alone]


def test_empty_mask_is_a_value_without_bounds():
    empty = Mask.from_rle({"size": [4, 6], "counts": "h0"})
    assert empty.area((6, 4)) == 0
    assert not empty.raster((6, 4)).any()
    with pytest.raises(RegionError, match="no pixel inside"):
        empty.bounds_xyxy()


def test_mask_of_another_image_size_names_both_and_the_likely_reason():
    transposed = Mask.from_array(np.ones((6, 4), bool))
    with pytest.raises(RegionError, match=r"4 wide x 6 high.* 6 wide x 4 high.*w, h\] given.*EXIF"):
        transposed.raster((6, 4))
    smaller = Mask.from_array(np.ones((240, 320), bool))
    with pytest.raises(RegionError, match="320 wide x 240 high, the image 640 wide x 480 high") as caught:
        smaller.area((640, 480))
    assert "given?" not in str(caught.value)


@pytest.mark.parametrize("array", [np.zeros((4, 6)), np.zeros((4, 6, 1), bool), np.zeros((0, 6), bool)])
def test_arrays_that_are_no_mask_are_refused(array):
    with pytest.raises(RegionError, match="bool array"):
        Mask.from_array(array)


def test_a_mask_asked_again_answers_alike_and_arrays_are_its_users_own():
    array = np.zeros((6, 5), dtype=np.bool_)
    array[1:4, 2:5] = True
    mask, again = Mask.from_array(array), Mask.from_array(array)
    drawn = mask.raster((5, 6))
    drawn[:] = False
    assert np.array_equal(again.raster((5, 6)), array)
    assert mask.bounds_xyxy() == again.bounds_xyxy() == (2.0, 1.0, 5.0, 4.0)


def test_a_mask_of_more_pixels_than_counts_can_hold_is_refused() -> None:
    with pytest.raises(RegionError, match="more than run lengths hold"):
        Mask.from_rle({"size": [100_000, 100_000], "counts": [5, 9_999_999_995]})
