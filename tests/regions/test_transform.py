import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mustela.errors import RegionError
from mustela.regions import Box, CenterCrop, Identity, Pad, Stretch, dequantise, format_box

sides = st.integers(1, 60)
sizes = st.tuples(sides, sides)


@st.composite
def transforms(draw):
    source = draw(sizes)
    kind = draw(st.sampled_from(["identity", "stretch", "pad", "square", "crop", "plain crop"]))
    if kind == "identity":
        return Identity(source)
    if kind == "stretch":
        return Stretch(source, draw(sizes))
    if kind == "pad":
        return Pad(source, draw(sizes))
    if kind == "square":
        return Pad(source)
    return CenterCrop(source, draw(sizes), draw(sides) if kind == "crop" else None)


@given(transforms(), st.lists(st.tuples(st.floats(-10, 80), st.floats(-10, 80)), max_size=6))
def test_points_come_back(transform, points):
    there = transform.points(points)
    assert there.shape == (len(points), 2)
    assert np.allclose(transform.inverse_points(there), np.reshape(points, (-1, 2)), atol=1e-9)


@given(transforms())
def test_boxes_come_back(transform):
    box = Box(1.5, 2, 7.25, 30)
    assert transform.inverse_box(transform.box(box)).bounds_xyxy() == pytest.approx(box.bounds_xyxy())


@settings(deadline=None)
@given(transforms(), st.integers(0, 99))
def test_masks_follow_their_pixels(transform, seed):
    mask = np.random.default_rng(seed).random(transform.source_wh[::-1]) < 0.5
    encoded = transform.mask(mask)
    assert encoded.shape == transform.encoded_wh[::-1]
    back = transform.inverse_mask(encoded)
    assert back.shape == mask.shape
    if min(transform.scale_xy) >= 1:
        ys, xs = np.indices(mask.shape).reshape(2, -1)
        shown = transform.visible(np.stack([xs, ys], axis=1) + 0.5).reshape(mask.shape)
        assert (back == (mask & shown)).all()


@given(transforms(), st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)))
def test_visible_points_lie_in_the_encoded_picture(transform, share):
    point = [[share[0] * transform.source_wh[0], share[1] * transform.source_wh[1]]]
    x, y = transform.points(point)[0]
    inside = 0 <= x < transform.encoded_wh[0] and 0 <= y < transform.encoded_wh[1]
    assert transform.visible(point)[0] == inside
    assert not transform.visible([[-0.1, 0.5]])[0]


@pytest.mark.parametrize(
    "transform",
    [
        Identity((120, 90)),
        Stretch((120, 90), (336, 336)),
        Stretch((120, 90), (56, 40)),
        Pad((120, 90)),
        Pad((90, 121)),
        Pad((120, 90), (336, 336)),
        Pad((120, 91), (64, 64)),
        Pad((120, 90), (300, 100)),
        CenterCrop((120, 90), (56, 56), 64),
        CenterCrop((120, 91), (224, 224), 224),
        CenterCrop((91, 120), (60, 60)),
        CenterCrop((120, 90), (160, 100)),
    ],
)
def test_the_picture_goes_where_its_points_go(transform):
    rng = np.random.default_rng(0)
    width, height = transform.source_wh
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    tried = 0
    while tried < 8:
        x, y = rng.uniform(12, width - 12), rng.uniform(12, height - 12)
        edge = transform.points([[x - 10, y - 10], [x + 10, y + 10]])
        if edge.min() < 0 or (edge.max(axis=0) > transform.encoded_wh).any():
            continue
        tried += 1
        # A smooth spot, whose centre of gravity is known to a fraction of a pixel.
        spot = np.exp(-((columns[None] - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * 2.5**2))
        image = Image.fromarray((np.stack([spot] * 3, axis=2) * 255).astype(np.uint8))
        encoded = np.asarray(transform.apply(image)).astype(float)[..., 0]
        assert encoded.shape == transform.encoded_wh[::-1]
        (left, top), (right, bottom) = edge.astype(int)
        weights = encoded[top:bottom, left:right]
        found_x = (weights.sum(0) * (np.arange(left, right) + 0.5)).sum() / weights.sum()
        found_y = (weights.sum(axis=1) * (np.arange(top, bottom) + 0.5)).sum() / weights.sum()
        # The window is cut at whole pixels and the picture at 8 bits: their noise is a tenth of a pixel.
        assert np.allclose([found_x, found_y], transform.points([[x, y]])[0], atol=0.1)


def test_padded_frame_of_a_wide_picture():
    pad = Pad((640, 480))
    assert pad.encoded_wh == (640, 640)
    assert pad.margin_xy == (0, 80)
    box = Box(100, 100, 200, 200)
    mask = pad.mask(box.raster((640, 480)))
    ys, xs = np.nonzero(mask)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (180, 279, 100, 199)
    assert mask.sum() == 100 * 100
    text = format_box(pad.box(box).bounds_xyxy(), pad.encoded_wh)
    assert text == "[156, 281, 312, 437]"
    decoded = Box(*(dequantise(value, 640) for value in (156, 281, 312, 437)))
    back = pad.inverse_box(decoded).bounds_xyxy()
    assert back == pytest.approx((99.84, 99.84, 199.68, 199.68), abs=1)
    assert format_box(box.bounds_xyxy(), (640, 480)) == "[156, 208, 312, 416]"


def test_margins_have_the_fill_colour():
    encoded = Pad((4, 2), fill=(1, 2, 3)).apply(Image.new("RGB", (4, 2), (9, 9, 9)))
    assert [encoded.getpixel((0, row)) for row in range(4)] == [(1, 2, 3), (9, 9, 9), (9, 9, 9), (1, 2, 3)]


def test_crop_sizes_follow_clip():
    crop = CenterCrop((640, 481), (224, 224), 224)
    assert crop.resized_wh == (298, 224)
    assert crop.offset_xy == (37, 0)


def test_other_sizes_are_refused():
    stretch = Stretch((10, 20), (5, 5))
    with pytest.raises(RegionError, match="20 wide x 10 high, this transform is for 10 x 20"):
        stretch.apply(Image.new("RGB", (20, 10)))
    with pytest.raises(RegionError, match="for 10 x 20"):
        stretch.mask(np.zeros((10, 20), bool))
    with pytest.raises(RegionError, match="for 5 x 5"):
        stretch.inverse_mask(np.zeros((6, 5), bool))
    with pytest.raises(RegionError, match=r"\(N, 2\)"):
        stretch.points([1, 2, 3])
    with pytest.raises(RegionError, match="no pixels"):
        Stretch((10, 0), (5, 5))
