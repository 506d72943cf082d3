"""Scenes show what they are said to show."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.shapes.scenes import Sample

from mustela.data.shapes import draw_scene, load_world, world_names
from mustela.data.shapes.outlines import OUTLINES
from mustela.data.shapes.paint import shape_alpha
from mustela.data.shapes.record import scene_of
from mustela.data.shapes.scene import MIN_VISIBLE_SHARE, MIN_VISIBLE_SIDE
from mustela.errors import ConfigError


def test_boxes_are_tight_round_the_masks(samples: list[Sample]) -> None:
    for sample in samples:
        for thing in sample.scene.things:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_masks_have_the_size_of_the_picture_and_share_no_pixel(samples: list[Sample]) -> None:
    for sample in samples:
        width, height = sample.scene.size_wh
        masks = [thing.mask for thing in sample.scene.things]
        assert {mask.shape for mask in masks} == {(height, width)}
        assert np.sum(masks, axis=0).max() == 1


def test_objects_stay_visible(samples: list[Sample]) -> None:
    for sample in samples:
        for thing in sample.scene.things:
            assert thing.box[2] - thing.box[0] >= MIN_VISIBLE_SIDE
            assert thing.box[3] - thing.box[1] >= MIN_VISIBLE_SIDE
    assert MIN_VISIBLE_SHARE > 0.55


def test_the_pixels_of_a_mask_have_the_colour_of_its_object(samples: list[Sample]) -> None:
    for sample in samples[:60]:
        picture = np.asarray(sample.scene.image, dtype=np.float64)
        for thing in sample.scene.things:
            inside = np.median(picture[thing.mask], axis=0)
            nearest = min(
                sample.world.colours,
                key=lambda colour: float(np.linalg.norm(np.subtract(colour.rgb, inside))),
            )
            assert nearest.name == thing.colour.name


def test_objects_stand_out_from_the_background(samples: list[Sample]) -> None:
    for sample in samples:
        picture = np.asarray(sample.scene.image, dtype=np.float64)
        bare = ~np.any([thing.mask for thing in sample.scene.things], axis=0)
        ground = np.median(picture[bare], axis=0)
        for thing in sample.scene.things:
            assert np.linalg.norm(np.median(picture[thing.mask], axis=0) - ground) > 45.0


def test_pictures_and_numbers_of_objects_vary(samples: list[Sample]) -> None:
    sizes = np.array([sample.scene.size_wh for sample in samples])
    assert sizes.min() >= 96
    assert sizes.max() <= 256
    aspects = sizes[:, 0] / sizes[:, 1]
    assert aspects.min() < 0.75
    assert aspects.max() > 1.33
    assert {len(sample.scene.things) for sample in samples} == {2, 3, 4, 5, 6}


def test_some_objects_lie_inside_or_across_others(samples: list[Sample]) -> None:
    across = sum(
        any(
            one is not other
            and other.mask[one.box[1] : one.box[3], one.box[0] : one.box[2]].sum() > 0.2 * one.mask.sum()
            for one in sample.scene.things
            for other in sample.scene.things
        )
        for sample in samples
    )
    assert across > 0.35 * len(samples)


def test_every_shape_and_colour_occurs(samples: list[Sample]) -> None:
    for name in world_names():
        world = load_world(name)
        things = [thing for sample in samples if sample.world.name == name for thing in sample.scene.things]
        assert {thing.shape.name for thing in things} == {shape.name for shape in world.shapes}
        assert {thing.colour.name for thing in things} == {colour.name for colour in world.colours}


def test_a_scene_depends_on_seed_split_and_number_alone() -> None:
    world = load_world("first")
    first = scene_of(world, seed=3, split="train", index=5)
    again = scene_of(load_world("first"), seed=3, split="train", index=5)
    assert first.image.tobytes() == again.image.tobytes()
    others = [
        scene_of(world, seed=4, split="train", index=5),
        scene_of(world, seed=3, split="val", index=5),
        scene_of(world, seed=3, split="train", index=6),
        scene_of(load_world("new"), seed=3, split="train", index=5),
    ]
    assert all(first.image.tobytes() != other.image.tobytes() for other in others)


def test_draw_scene_uses_the_generator_that_it_is_given() -> None:
    world = load_world("first")
    one, two = (draw_scene(world, np.random.default_rng(11)) for _ in range(2))
    assert one.image.tobytes() == two.image.tobytes()


@pytest.mark.parametrize("name", sorted(OUTLINES))
def test_outlines_fill_their_square_without_leaving_it(name: str) -> None:
    rings = OUTLINES[name]()
    corners = np.concatenate(rings)
    assert np.abs(corners).max() <= 1.2
    assert np.ptp(corners, axis=0).min() > 1.0
    drawn = shape_alpha(rings, centre_xy=(50.0, 50.0), radius=30.0, turn=0.0, size_wh=(100, 100))
    assert drawn is not None
    assert 0.1 < drawn[1].sum() / 60.0**2 < 0.9


def test_the_new_world_has_no_shape_colour_or_word_of_the_first() -> None:
    first, new = load_world("first"), load_world("new")
    assert not {shape.name for shape in first.shapes} & {shape.name for shape in new.shapes}
    assert not {colour.name for colour in first.colours} & {colour.name for colour in new.colours}
    for a in first.colours:
        for b in new.colours:
            assert np.linalg.norm(np.subtract(a.rgb, b.rgb)) > 30.0


def test_a_world_has_room_for_names(samples: list[Sample]) -> None:
    for name in world_names():
        world = load_world(name)
        assert len(world.shapes) >= 6
        assert len(world.colours) == 8


def test_an_unknown_world_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'mars'.*first, new"):
        load_world("mars")


def test_a_broken_world_file_is_named(tmp_path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"name": "x", "shapes": [{"name": "blob", "plural": "blobs", "outline": "blob"}]}')
    with pytest.raises(ConfigError, match=r"broken\.json.*blob"):
        load_world(path)
