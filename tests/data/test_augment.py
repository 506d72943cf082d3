"""Augmentation: regions stay on their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mustela.data.augment import Augmentation, augment
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.errors import ConfigError
from mustela.regions import Box, Mask, Point, Polygon, Scribble

SIZE = (40, 24)
BOX = Box(4, 6, 13, 10)
RED, GREY = (255, 0, 0), (128, 128, 128)


def planted() -> Image.Image:
    """A grey picture with a red rectangle where the box is."""
    image = Image.new("RGB", SIZE, GREY)
    image.paste(RED, (4, 6, 13, 10))
    return image


def regions() -> dict[str, RegionAnnotation]:
    """Regions that lie on the rectangle: all of it, or a part."""
    mask = Mask.from_array(BOX.raster(SIZE))
    return {
        "box": RegionAnnotation(BOX, mask),
        "mask": RegionAnnotation(mask),
        "polygon": RegionAnnotation(Polygon((((4, 6), (13, 6), (13, 10), (4, 10)),))),
        "point": RegionAnnotation(Point(12.5, 6.5)),
        "scribble": RegionAnnotation(Scribble(((5, 8), (11, 8)), width=2)),
    }


def record(text: str = "What is <bbox_location0>?", **kinds: RegionAnnotation) -> Record:
    turns = (Turn("user", text, tuple(kinds.values())), Turn("assistant", "a thing"))
    return Record("r", (ImageRef("a.png", SIZE),), turns)


def red(image: Image.Image) -> np.ndarray:
    return (np.asarray(image) == RED).all(-1)


SEEDS = range(12)


@pytest.mark.parametrize(
    "settings", [Augmentation(flip=1.0), Augmentation(turn=1.0), Augmentation(0.5, 0.5)], ids=str
)
@pytest.mark.parametrize("seed", SEEDS)
def test_regions_stay_on_their_pixels(settings, seed):
    kinds = regions()
    new, [image] = augment(record(**kinds), [planted()], settings, rng=np.random.default_rng(seed))
    there = red(image)
    assert there.sum() == BOX.area(SIZE)
    assert new.images[0].size_wh == image.size
    moved = dict(zip(kinds, new.turns[0].regions, strict=True))
    for name in ("box", "mask", "polygon"):
        assert np.array_equal(moved[name].region.raster(image.size), there), name
    assert np.array_equal(moved["box"].mask.raster(image.size), there)
    x, y = int(moved["point"].region.x), int(moved["point"].region.y)
    assert there[y, x]
    scribble = moved["scribble"].region.raster(image.size)
    assert scribble.any()
    assert not (scribble & ~there).any()


def test_all_turns_and_mirror_images_happen():
    settings = Augmentation(flip=0.5, turn=0.5)
    seen = {
        (image.size, tuple(np.argwhere(red(image))[0]))
        for seed in range(60)
        for _, [image] in [augment(record(), [planted()], settings, rng=np.random.default_rng(seed))]
    }
    assert len(seen) == 8


@pytest.mark.parametrize(
    "text",
    [
        "Is it left of the door?", "What is above it?", "the UPPER one", "它的左边是什么？",
        "Turn clockwise.",
        "the topmost", "the uppermost", "the bottommost",
        "the lowest", "the highest", "beneath", "underneath",
        "It looks upwards.", "downward", "overhead", "the LHS", "the rhs", "the west side", "eastern",
        "At 3 o'clock.", "at two o’clock", "le chien à gauche", "la porte droite", "der Hund links",
        "der rechte Hund", "a la izquierda", "derecho", "a sinistra", "la destra", "à esquerda", "direita",
        "собака слева", "левый дом", "правого дома", "犬は右",
        "It is at [0.10, 0.20, 0.30, 0.40].", "<box>(10,20),(30,40)</box>",
        "<loc0012>", "(10 20)", '{"x": 10}',
    ],
)  # fmt: skip
def test_a_text_of_directions_keeps_its_picture(text):
    old = record(text, **regions())
    new, [image] = augment(old, [planted()], Augmentation(1.0, 1.0), rng=np.random.default_rng(0))
    assert new == old
    assert np.array_equal(np.asarray(image), np.asarray(planted()))


def test_the_system_text_counts_too():
    old = replace(
        record("What is it?", **regions()), system="Answer with the box [x1, y1]. Left comes first."
    )
    for words in ("refuse", "swap"):
        settings = Augmentation(flip=1.0, flip_words=words)
        assert augment(old, [planted()], settings, rng=np.random.default_rng(0))[0] == old


def test_coordinates_of_a_text_keep_their_picture_from_every_change_of_shape():
    box = RegionAnnotation(BOX)
    old = talk(("Is [4, 6, 13, 10] <bbox_location0>?", "yes", (box,)))
    settings = Augmentation(flip=1.0, crop=1.0, scale=0.5, flip_words="swap")
    assert augment(old, [planted()], settings, rng=np.random.default_rng(0))[0] == old


def test_a_text_that_only_looks_like_directions_is_moved():
    new, [image] = augment(
        record("A copyright notice, overall, in 2010 (about 3): destroy the linked topic <bbox_location0>."),
        [planted()],
        Augmentation(flip=1.0),
        rng=np.random.default_rng(0),
    )
    assert new.images[0].size_wh == image.size
    assert not np.array_equal(np.asarray(image), np.asarray(planted()))
    _, [image] = augment(
        record("A bright bottle."), [planted()], Augmentation(flip=1.0), rng=np.random.default_rng(0)
    )
    assert not np.array_equal(np.asarray(image), np.asarray(planted()))


def test_color_changes_pixels_and_nothing_else():
    old = record(**regions())
    new, [image] = augment(old, [planted()], Augmentation(color=0.5), rng=np.random.default_rng(1))
    assert new == old
    assert not np.array_equal(np.asarray(image), np.asarray(planted()))


def test_several_pictures_are_left_alone():
    old = Record("r", (ImageRef("a.png", SIZE),) * 2, record(**regions()).turns)
    pictures = [planted(), planted()]
    assert augment(old, pictures, Augmentation(1.0, 1.0, 1.0), rng=np.random.default_rng(0)) == (
        old,
        pictures,
    )


def test_draws_do_not_depend_on_the_text():
    after = []
    for text in ("What is it?", "What is left?"):
        rng = np.random.default_rng(5)
        augment(record(text), [planted()], Augmentation(0.5, 0.5, 0.1), rng=rng)
        after.append(rng.random())
    assert after[0] == after[1]


@pytest.mark.parametrize("name", ["flip", "turn", "color"])
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_shares_beyond_0_and_1_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"augment_{name} is {value}"):
        Augmentation(**{name: value})


@pytest.mark.parametrize("seed", SEEDS)
def test_scaled_regions_cover_the_same_share(seed):
    kinds = regions()
    settings = Augmentation(scale=0.6)
    new, [image] = augment(record(**kinds), [planted()], settings, rng=np.random.default_rng(seed))
    factor = image.width / SIZE[0], image.height / SIZE[1]
    for name, annotation in zip(kinds, new.turns[0].regions, strict=True):
        before, after = kinds[name].region.bounds_xyxy(), annotation.region.bounds_xyxy()
        expected = [value * factor[axis % 2] for axis, value in enumerate(before)]
        # Pixels of a mask are whole, and a scribble's width is one number for both axes.
        np.testing.assert_allclose(after, expected, atol=1.5 if name in ("mask", "scribble") else 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_cropped_regions_stay_on_their_pixels(seed):
    kinds = regions()
    settings = Augmentation(crop=1.0, crop_visible=1.0)
    new, [image] = augment(record(**kinds), [planted()], settings, rng=np.random.default_rng(seed))
    there = red(image)
    assert there.sum() == BOX.area(SIZE)
    assert new.images[0].size_wh == image.size
    moved = dict(zip(kinds, new.turns[0].regions, strict=True))
    for name in ("box", "mask", "polygon"):
        assert (moved[name].region.raster(image.size) == there).all()
    for name in ("point", "scribble"):
        x1, y1, x2, y2 = moved[name].region.bounds_xyxy()
        assert there[int((y1 + y2) / 2), int((x1 + x2) / 2)]


def talk(*rounds):
    turns = []
    for question, answer, named in rounds:
        turns += [Turn("user", question, named), Turn("assistant", answer)]
    turns[0] = Turn("user", f"<image>\n{turns[0].text}", turns[0].regions)
    return Record("r", (ImageRef("a.png", SIZE),), tuple(turns))


def test_rounds_whose_region_a_crop_hides_are_left_out():
    corner, other = RegionAnnotation(Box(0, 0, 3, 3)), RegionAnnotation(Box(37, 21, 40, 24))
    both = talk(("What is <bbox_location0>?", "a", (corner,)), ("And <bbox_location0>?", "b", (other,)))
    left = set()
    for seed in range(60):
        new, [image] = augment(both, [planted()], Augmentation(crop=1.0), rng=np.random.default_rng(seed))
        left.add(tuple(turn.text for turn in new.turns[1::2]))
        assert new.turns[0].text.startswith("<image>\n")
        for turn in new.turns:
            for annotation in turn.regions:
                x1, y1, x2, y2 = annotation.region.bounds_xyxy()
                assert (x2 - x1) * (y2 - y1) >= 0.7 * 9
                assert 0 <= x1 < x2 <= image.width
                assert 0 <= y1 < y2 <= image.height
    assert {("a",), ("b",)} <= left


@pytest.mark.parametrize(
    "rounds",
    [
        (("Is there a dog?", "Yes.", ()),),
        (("What is <bbox_location0>, above the cat?", "a dog", (RegionAnnotation(BOX),)),),
    ],
)
def test_what_is_said_of_the_whole_picture_is_not_cropped(rounds):
    before = talk(*rounds)
    for seed in SEEDS:
        new, [image] = augment(before, [planted()], Augmentation(crop=1.0), rng=np.random.default_rng(seed))
        assert new == before
        assert image.size == SIZE


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("The left dog, LEFT of the rightmost cat.", "The right dog, RIGHT of the leftmost cat."),
        ("Left-hand side", "Right-hand side"),
        ("on the left or to the right", "on the right or to the left"),
        ("from left to right, top-left", "from right to left, top-right"),
        ("in the upper right, on your left", "in the upper left, on your right"),
        ("it in the left half or right corner", "it in the right half or left corner"),
        ("second from left, facing right", "second from right, facing left"),
        ("左の犬", "右の犬"),
        ("左边的狗在右边", "右边的狗在左边"),
        ("三米左右", "三米左右"),
        ("above the brightest", "above the brightest"),
    ],
)
def test_mirrored_words(text, swapped):
    settings = Augmentation(flip=1.0, flip_words="swap")
    before = talk((f"What is {text} <bbox_location0>", "x", (RegionAnnotation(BOX),)))
    new, _ = augment(before, [planted()], settings, rng=np.random.default_rng(0))
    assert new.turns[0].text == f"<image>\nWhat is {swapped} <bbox_location0>"
    assert new.turns[0].regions[0].region == Box(SIZE[0] - 13, 6, SIZE[0] - 4, 10)


@pytest.mark.parametrize(
    "text",
    [
        "Turn left and clockwise", "That is right", "right next to", "right behind", "He left the room",
        "The left man left", "right-click", "the right-click",
        "right now", "All right, on the left", "right?",
        "What is left of the pizza?", "the right answer",
        "the right to vote", "human rights", "Turn right away",
        "top right now", "leftovers", "座右铭", "the left one, west of it", "à gauche",
        "on the left of the LHS",
    ],
)  # fmt: skip
def test_a_text_that_a_mirror_turns_round_or_that_may_mean_no_side_is_left_alone(text):
    settings = Augmentation(flip=1.0, flip_words="swap")
    before = talk((f"{text} <bbox_location0>", "x", (RegionAnnotation(BOX),)))
    assert augment(before, [planted()], settings, rng=np.random.default_rng(0))[0] == before
