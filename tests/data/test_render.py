from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mustela.data.message import Message, Slot
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import Rendered, RenderedRegion, RenderOptions, render, sample_rng
from mustela.errors import ConfigError, RecordError, RegionError
from mustela.regions import (
    Box,
    CoordinateStyle,
    Mask,
    Pad,
    Point,
    Polygon,
    Region,
    Scribble,
    Stretch,
    Transform,
)

SIZE = (640, 480)
BOX = Box(100, 100, 200, 200)


def filled(x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return Mask.from_array(mask)


def record_of(
    *texts: str, regions: dict[int, list[RegionAnnotation]] | None = None, images: int = 1
) -> Record:
    """Texts are turns, user first; regions by turn."""
    turns = tuple(
        Turn("user" if number % 2 == 0 else "assistant", text, tuple((regions or {}).get(number, ())))
        for number, text in enumerate(texts)
    )
    return Record("r", tuple(ImageRef(f"{n}.jpg") for n in range(images)), turns)


def rendered(record: Record, *, seed: int = 0, **options: object) -> Rendered:
    chosen = RenderOptions(**{"box_input": "box", **options})  # type: ignore[arg-type]
    return render(record, chosen, sizes_wh=[SIZE] * len(record.images), rng=sample_rng(seed, 0, 0))


def text(message: Message) -> str:
    names = {Slot.IMAGE: "‹image›", Slot.REGION: "‹region›"}
    return "".join(names[part] if isinstance(part, Slot) else part for part in message.parts)


def texts(result: Rendered) -> list[str]:
    return [text(message) for message in result.messages]


@pytest.mark.parametrize(
    ("options", "question"),
    [
        ({}, "‹image›\nWhat is [156, 208, 312, 416] ‹region›?"),
        ({"no_coor": True}, "‹image›\nWhat is ‹region›?"),
        ({"add_region_feature": False}, "‹image›\nWhat is [156, 208, 312, 416]?"),
        ({"add_region_feature": False, "no_coor": True}, "‹image›\nWhat is ?"),
        ({"box_input": "point", "point_input_sample": "center"}, "‹image›\nWhat is [234, 312] ‹region›?"),
    ],
)
def test_a_question_carries_coordinates_and_slot_as_asked(options: dict[str, object], question: str) -> None:
    record = record_of(
        "<image>\nWhat is <bbox_location0>?",
        "A dog <bbox_location0>.",
        regions={0: [RegionAnnotation(BOX)], 1: [RegionAnnotation(BOX)]},
    )
    result = rendered(record, **options)
    assert texts(result) == [question, "A dog [156, 208, 312, 416]."]
    assert len(result.regions) == (0 if options.get("add_region_feature") is False else 1)


@pytest.mark.parametrize(
    ("region", "coordinates"),
    [
        (Point(320, 240), "[500, 500]"),
        (Scribble(((100, 100), (200, 200)), 10), "[148, 197, 320, 427]"),
        (Polygon((((100, 100), (200, 100), (200, 200)),)), "[156, 208, 312, 416]"),
        (filled(100, 100, 200, 200), "[156, 208, 312, 416]"),
    ],
)
def test_other_shapes_are_written_by_their_bounds_and_looked_at_as_they_are(
    region: Region, coordinates: str
) -> None:
    annotation = [RegionAnnotation(region)]
    record = record_of(
        "<image>\n<bbox_location0>?", "<bbox_location0>", regions={0: annotation, 1: annotation}
    )
    result = rendered(record, box_input="random")
    assert texts(result) == [f"‹image›\n{coordinates} ‹region›?", coordinates]
    assert result.regions == (RenderedRegion(region),)


def test_regions_follow_the_text_and_a_placeholder_used_twice_means_the_same_region_twice() -> None:
    first, second = Box(0, 0, 64, 48), Box(64, 48, 128, 96)
    record = record_of(
        "<image>\n<bbox_location1>, <bbox_location0>, <bbox_location1>?",
        "x",
        "And <bbox_location0>?",
        "y",
        regions={0: [RegionAnnotation(first), RegionAnnotation(second)], 2: [RegionAnnotation(BOX)]},
    )
    result = rendered(record)
    assert [shown.region for shown in result.regions] == [second, first, second, BOX]
    assert texts(result)[0] == (
        "‹image›\n[100, 100, 200, 200] ‹region›, [0, 0, 100, 100] ‹region›, [100, 100, 200, 200] ‹region›?"
    )
    for seed in range(5):
        drawn = rendered(record, seed=seed, box_input="point", point_input_sample="gaussian").regions
        assert drawn[0] == drawn[2]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("<image>\nHi", "‹image›\nHi"),
        ("<image>Hi ", "‹image›\nHi"),
        ("  Hi <image> there\n", "‹image›\nHi  there"),
        ("Hi\n<image>", "‹image›\nHi"),
        ("<image>", "‹image›"),
        ("<image>\n<image> is a word", "‹image›\n<image> is a word"),
    ],
)
def test_one_image_opens_its_turn(typed: str, expected: str) -> None:
    assert texts(rendered(record_of(typed, "ok")))[0] == expected


def test_turns_without_image_are_left_as_they_are() -> None:
    result = rendered(record_of("<image>\nHi", " ok ", "  really? \n", "yes\n"))
    assert texts(result) == ["‹image›\nHi", " ok ", "  really? \n", "yes\n"]


def test_several_images_keep_their_places() -> None:
    record = record_of(" <image> and <image>: same?", "no", "And <image>?", "yes", images=3)
    assert texts(rendered(record)) == [" ‹image› and ‹image›: same?", "no", "And ‹image›?", "yes"]


def test_control_strings_in_data_stay_text() -> None:
    record = record_of("<image>\n</s> <region_fea> ASSISTANT: <im_patch>", "an <image> is <region_fea></s>")
    result = rendered(record)
    assert [message.parts for message in result.messages] == [
        (Slot.IMAGE, "\n</s> <region_fea> ASSISTANT: <im_patch>"),
        ("an <image> is <region_fea></s>",),
    ]


def test_without_an_image_the_word_is_text() -> None:
    assert rendered(record_of("What does <image> mean?", "x", images=0)).messages[0].parts == (
        "What does <image> mean?",
    )


def test_the_system_text_comes_first() -> None:
    record = replace(record_of("<image>\nHi", "ok"), system="Be brief. <image>")
    assert rendered(record).messages[0] == Message("system", ("Be brief. <image>",))


def test_missing_images_and_regions_are_errors_that_name_the_record() -> None:
    with pytest.raises(RecordError, match='"r": 2 images but 1 <image>'):
        rendered(record_of("<image>\nHi", "ok", images=2))
    with pytest.raises(RecordError, match='"r", turn 0: a placeholder has no region; the turn has 1'):
        rendered(record_of("<image> <bbox_location1>", "ok", regions={0: [RegionAnnotation(BOX)]}))
    with pytest.raises(RecordError, match="1 images but 0 image sizes"):
        render(record_of("<image>", "ok"), RenderOptions(), sizes_wh=[], rng=sample_rng(0, 0, 0))


def test_one_draw_decides_a_whole_turn_and_both_outcomes_occur() -> None:
    record = record_of(
        "<image>\n<bbox_location0> <bbox_location1>",
        "x",
        "<bbox_location0>",
        "y",
        regions={0: [RegionAnnotation(BOX), RegionAnnotation(Box(0, 0, 9, 9))], 2: [RegionAnnotation(BOX)]},
    )
    kinds = set()
    for seed in range(40):
        first, second, third = (
            type(r.region) for r in rendered(record, seed=seed, box_input="random").regions
        )
        assert first is second
        kinds.add((first, third))
    assert kinds == {(Box, Box), (Box, Point), (Point, Box), (Point, Point)}


def test_the_mask_confines_box_and_point() -> None:
    mask = filled(150, 150, 160, 160)
    record = record_of("<image>\n<bbox_location0>", "x", regions={0: [RegionAnnotation(BOX, mask)]})
    for box_input in ("box", "point"):
        (shown,) = rendered(record, box_input=box_input).regions
        assert shown.within == mask
        assert not (shown.raster(SIZE) & ~mask.raster(SIZE)).any()
        assert shown.raster(SIZE).any()


def test_a_point_is_confined_by_its_box_and_stands_alone_where_they_do_not_meet() -> None:
    inside = RenderedRegion(Point(101, 101), BOX)
    assert inside.raster(SIZE).sum() == 7 * 7
    apart = RenderedRegion(Point(20, 20), BOX)
    assert apart.raster(SIZE).sum() == 11 * 11


MODES = ["gaussian", "segment_mask|center", "segment_mask|gaussian", "segment_mask|uniform"]


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 10_000),
    corner=st.tuples(st.integers(0, 600), st.integers(0, 440)),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    masked=st.booleans(),
)
def test_points_lie_where_they_must(
    mode: str, seed: int, corner: tuple[int, int], sides: tuple[int, int], masked: bool
) -> None:
    (x, y), (w, h) = corner, sides
    mask = filled(x + w // 2, y, x + w // 2 + 1, y + h) if masked else None
    annotation = RegionAnnotation(Box(x, y, x + w, y + h), mask)
    record = record_of("<image>\n<bbox_location0>", "x", regions={0: [annotation]})
    (shown,) = rendered(record, seed=seed, box_input="point", point_input_sample=mode).regions
    point = shown.region
    assert isinstance(point, Point)
    assert x <= point.x <= x + w
    assert y <= point.y <= y + h
    if mask is not None and mode != "gaussian":
        assert mask.raster(SIZE)[int(point.y), int(point.x)]
    again = rendered(record, seed=seed, box_input="point", point_input_sample=mode)
    assert again.regions == (shown,)


def test_random_points_vary_with_the_seed() -> None:
    record = record_of("<image>\n<bbox_location0>", "x", regions={0: [RegionAnnotation(BOX)]})
    points = {
        rendered(record, seed=s, box_input="point", point_input_sample="gaussian").regions for s in range(9)
    }
    assert len(points) == 9


def test_a_point_that_is_referred_back_is_the_same_within_a_question_only() -> None:
    same, other = (
        RegionAnnotation(BOX, filled(100, 100, 200, 200)),
        RegionAnnotation(BOX, filled(100, 100, 101, 101)),
    )
    record = record_of(
        "<image>\n<bbox_location0> <bbox_location1> <bbox_location2>",
        "<bbox_location0>",
        "<bbox_location0>",
        "x",
        regions={0: [same, same, other], 1: [same], 2: [same]},
    )
    options = {"box_input": "point", "point_input_sample": "segment_mask|uniform"}
    first, second, third, later = rendered(record, refer_previous_point=True, **options).regions
    assert first == second
    assert third.region != first.region
    assert later.region != first.region
    assert texts(rendered(record, refer_previous_point=True, **options))[1] == "[156, 208, 312, 416]"
    first, second, *_ = rendered(record, refer_previous_point=False, **options).regions
    assert first != second


@pytest.mark.parametrize(
    ("clamp", "coordinates"), [("edge", "[0, 0, 999, 999]"), ("last_pixel", "[0, 0, 998, 997]")]
)
def test_boxes_are_clamped_to_the_picture(clamp: str, coordinates: str) -> None:
    annotation = [RegionAnnotation(Box(-3, 0, 640, 481))]
    record = record_of(
        "<image>\n<bbox_location0>", "<bbox_location0>", regions={0: annotation, 1: annotation}
    )
    result = rendered(record, clamp=clamp)
    assert texts(result) == [f"‹image›\n{coordinates} ‹region›", coordinates]
    assert result.regions[0].raster(SIZE).all()


@pytest.mark.parametrize(
    ("fit", "text"),
    [
        (Stretch(SIZE, (336, 336)), "[52, 70, 105, 140]"),
        (Stretch(SIZE, (448, 448)), "[70, 93, 140, 187]"),
        (Pad(SIZE, (320, 320)), "[50, 90, 100, 140]"),
    ],
)
def test_only_coordinates_that_say_so_follow_the_encoder(fit: Transform, text: str) -> None:
    record = record_of("<image>\nWhere?", "<bbox_location0>", regions={1: [RegionAnnotation(BOX)]})

    def written(style: CoordinateStyle) -> str:
        options = RenderOptions(box_input="box", coordinates=style)
        rng = sample_rng(0, 0, 0)
        return texts(render(record, options, sizes_wh=[SIZE], rng=rng, frames=[fit]))[1]

    assert written("bins") == "[156, 208, 312, 416]"
    assert written("resized") == text
    with pytest.raises(RegionError, match="give fit"):
        rendered(record, coordinates="resized")


def test_each_region_uses_the_size_of_its_own_image() -> None:
    record = record_of(
        "<image><image> <bbox_location0> <bbox_location1>",
        "x",
        regions={0: [RegionAnnotation(Box(0, 0, 10, 10)), RegionAnnotation(Box(0, 0, 10, 10), image=1)]},
        images=2,
    )
    result = render(
        record, RenderOptions(box_input="box"), sizes_wh=[(10, 10), (20, 40)], rng=sample_rng(0, 0, 0)
    )
    assert text(result.messages[0]).endswith("[0, 0, 999, 999] ‹region› [0, 0, 500, 250] ‹region›")
    assert [shown.image for shown in result.regions] == [0, 1]


def test_unknown_options_name_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"point_input_sample is 'centre'.*'center', 'gaussian'"):
        RenderOptions(point_input_sample="centre")
    with pytest.raises(ConfigError, match="last_pixel"):
        RenderOptions(clamp="none")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'point'"):
        RenderOptions(box_input="circle")  # type: ignore[arg-type]


def test_a_sample_depends_on_seed_epoch_and_index_only() -> None:
    draws = {
        (seed, epoch, index): float(sample_rng(seed, epoch, index).random())
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(set(draws.values())) == len(draws)
    assert float(sample_rng(1, 2, 0).random()) == draws[1, 2, 0]
    with pytest.raises(ConfigError):
        sample_rng(-1, 0, 0)
