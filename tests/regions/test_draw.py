import math

import numpy as np
import pytest
from PIL import Image

from mustela.errors import CountMismatchError, RegionError
from mustela.regions import Box, Mask, Point, Polygon, Scribble, draw_regions
from mustela.regions.fonts import font_for


def one_of_each(width, height):
    ys, xs = np.mgrid[:height, :width]
    disc = ((xs - 0.75 * width) / (0.15 * width)) ** 2 + ((ys - 0.7 * height) / (0.2 * height)) ** 2 < 1
    disc[int(0.7 * height), int(0.75 * width)] = True
    wave = tuple((width * (0.6 + 0.03 * i), height * (0.2 + 0.08 * math.sin(i))) for i in range(12))
    triangle = ((0.1 * width, 0.9 * height), (0.4 * width, 0.9 * height), (0.25 * width, 0.6 * height))
    return [
        Box(0.05 * width, 0.1 * height, 0.4 * width, 0.45 * height),
        Point(0.55 * width, 0.2 * height),
        Scribble(wave, width=0.03 * width),
        Polygon((triangle,)),
        Mask.from_array(disc),
    ]


LABELS = ["the red dog", "a point", "scribble", "étoile", "\u043c\u0430\u0441\u043a \u72d7"]


@pytest.mark.parametrize("size_wh", [(3, 2), (40, 40), (40, 90), (640, 480), (2000, 30), (1200, 900)])
@pytest.mark.parametrize("background", ["white", "black", "red", "#808080"])
def test_every_kind_shows_at_every_size_on_every_background(size_wh, background):
    image = Image.new("RGB", size_wh, background)
    for region, label in zip(one_of_each(*size_wh), LABELS, strict=True):
        drawn = draw_regions(image, [region], colors=["red"])
        assert drawn.mode == "RGB"
        assert max(drawn.size) >= 320
        plain = np.asarray(image.resize(drawn.size)).astype(int)
        changed = np.abs(np.asarray(drawn).astype(int) - plain).max(axis=2) > 60
        assert changed.any()
        signed = draw_regions(image, [region], labels=[label], colors=["red"])
        assert (np.asarray(signed) != np.asarray(drawn)).any()


def test_lines_lie_on_the_border_and_nothing_else_changes():
    image = Image.new("RGB", (400, 300), "white")
    pixels = np.asarray(draw_regions(image, [Box(100, 80, 300, 220)], colors=["#0000ff"])).astype(int)
    for x, y in ((100, 150), (299, 150), (200, 80), (200, 219)):
        blue = pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        assert (np.abs(blue - [0, 0, 255]).max(axis=1) < 40).any()
    outside = np.ones((300, 400), bool)
    outside[74:226, 94:306] = False
    assert (pixels[outside] == 255).all()


def test_small_pictures_grow_by_a_whole_factor_unless_told_not_to():
    image = Image.new("RGB", (100, 60))
    assert draw_regions(image, []).size == (400, 240)
    assert draw_regions(image, [Point(5, 5)], labels=["x"], min_side=0).size == (100, 60)
    assert draw_regions(image, [], min_side=101).size == (200, 120)
    grown = draw_regions(image, [Mask.from_array(np.pad(np.ones((20, 20), bool), ((20, 20), (60, 20))))])
    changed = np.asarray(grown).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert abs(xs.mean() / 4 - 70) < 1
    assert abs(ys.mean() / 4 - 30) < 1


def test_image_stays_as_it_is_and_any_mode_is_drawn_on():
    image = Image.new("RGBA", (320, 320), (0, 0, 0, 0))
    drawn = draw_regions(image, [Box(10, 10, 100, 100)])
    assert drawn.getpixel((200, 200)) == (255, 255, 255)
    assert image.getcolors() == [(320 * 320, (0, 0, 0, 0))]


def test_what_lies_outside_is_not_drawn():
    image = Image.new("RGB", (320, 320))
    regions = [Box(400, 400, 500, 500), Point(-90, 9), Mask.from_array(np.zeros((320, 320), bool))]
    assert not np.asarray(draw_regions(image, regions)).any()
    draw_regions(image, regions, labels=["a", "b", "c"])
    draw_regions(Image.new("RGB", (1, 1)), [Mask.from_array(np.ones((1, 1), bool))], labels=["a"], min_side=0)
    draw_regions(image, [Box(-50, -50, 1000, 1000), Scribble(((5, 5),))], labels=["x" * 500, "\n"])


def test_polygon_holes_stay_empty():
    image = Image.new("RGB", (320, 320))
    outer = ((20, 20), (300, 20), (300, 300), (20, 300))
    inner = ((100, 100), (220, 100), (220, 220), (100, 220))
    drawn = draw_regions(image, [Polygon((outer, inner))])
    assert drawn.getpixel((160, 160)) == (0, 0, 0)
    assert drawn.getpixel((60, 160)) != (0, 0, 0)


def test_labels_avoid_one_another():
    image = Image.new("RGB", (320, 320))
    boxes = [Box(100, 100, 200, 200)] * 4
    alone = np.asarray(draw_regions(image, boxes)).astype(int)
    covered = 0
    for index in range(4):
        labels = ["wide label"] * (index + 1) + [""] * (3 - index)
        drawn = np.asarray(draw_regions(image, boxes, labels=labels)).astype(int)
        now = int((np.abs(drawn - alone).max(axis=2) > 0).sum())
        assert now > covered + 500
        covered = now


def test_letters_that_no_font_has_become_question_marks():
    _, text = font_for("dog \U0010fffe", 14)
    assert text == "dog ?"
    _, text = font_for("plain", 14)
    assert text == "plain"


def test_faults_are_named():
    image = Image.new("RGB", (32, 32))
    with pytest.raises(CountMismatchError, match="1 labels for 2 regions"):
        draw_regions(image, [Point(1, 1), Point(2, 2)], labels=["a"])
    with pytest.raises(CountMismatchError, match="3 colors for 1 regions"):
        draw_regions(image, [Point(1, 1)], colors=["red"] * 3)
    with pytest.raises(RegionError, match="'reddish'"):
        draw_regions(image, [Point(1, 1)], colors=["reddish"])
    with pytest.raises(RegionError, match="4 wide x 4 high"):
        draw_regions(image, [Mask.from_array(np.ones((4, 4), bool))])
