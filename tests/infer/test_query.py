import pytest

from mustela.data.message import Slot
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.errors import CountMismatchError, RegionError
from mustela.infer import Exchange, Query, check_in_picture, render_query
from mustela.regions import Box, Mask, Point, Polygon, Scribble

SIZE = (100, 50)
BOX, POINT = Box(10, 5, 50, 25), Point(20, 30)
SHAPE = Polygon((((10.0, 10.0), (50.0, 10.0), (30.0, 40.0)),))
OPTIONS = RenderOptions(box_input="box")


@pytest.mark.parametrize("options", [OPTIONS, RenderOptions(box_input="box", no_coor=True)])
@pytest.mark.parametrize("regions", [(BOX,), (POINT,), (SHAPE,), (BOX, POINT)])
def test_a_question_becomes_the_messages_that_training_renders(options, regions) -> None:
    text = "Say, what is <region>?" if len(regions) == 1 else "Is <region1> like <region2>?"
    placed = text.replace("<region>", "<region1>")
    for number in (1, 2):
        placed = placed.replace(f"<region{number}>", f"<bbox_location{number - 1}>")
    turns = (Turn("user", f"<image>\n{placed}", tuple(RegionAnnotation(region) for region in regions)),)
    record = Record("question", (ImageRef("a.png", SIZE),), turns)
    expected = render(record, options, sizes_wh=[SIZE], rng=sample_rng(0, 0, 0))
    found = render_query(Query("a.png", text, regions), SIZE, options=options)
    assert joined(found.messages[0].parts) == joined(expected.messages[0].parts)
    assert found.regions == expected.regions


def joined(parts: tuple) -> list:
    """Neighbouring strings as one."""
    result: list = []
    for part in parts:
        if isinstance(part, str) and result and isinstance(result[-1], str):
            result[-1] += part
        elif part:
            result.append(part)
    return result


def test_without_region_features_only_coordinates_are_written() -> None:
    options = RenderOptions(box_input="box", add_region_feature=False)
    found = render_query(Query("a.png", "What is <region>?", (BOX,)), SIZE, options=options)
    assert found.messages[0].plain_text == "\nWhat is [100, 100, 500, 500]?"
    assert found.regions == ()


def test_a_region_may_be_named_several_times_and_in_any_order() -> None:
    query = Query("a.png", "Is <region2> in <region1>, I mean <region2>?", (BOX, POINT))
    found = render_query(query, SIZE, options=OPTIONS)
    assert [item.region for item in found.regions] == [POINT, BOX, POINT]
    assert found.messages[0].count(Slot.REGION) == 3


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("What is it?", 1, "0 <region> placeholders but 1 regions"),
        ("What is <region>?", 0, "1 <region> placeholders but 0 regions were given; give one for each"),
        ("Is <region> like <region>?", 3, "2 <region> placeholders but 3 regions"),
        ("Is <region1> like <region3>?", 2, r"names 2 regions \(<region1>, <region3>\) but 2 were given"),
        ("What is <region0>?", 1, "counted from 1"),
        ("Is <region1> like <region>?", 2, "not both"),
    ],
)
def test_numbers_that_differ_are_both_named(text: str, count: int, message: str) -> None:
    with pytest.raises(CountMismatchError, match=message):
        render_query(Query("a.png", text, (BOX,) * count), SIZE, options=OPTIONS)


def test_regions_need_a_picture() -> None:
    with pytest.raises(RegionError, match="1 regions but no picture"):
        render_query(Query(None, "What is <region>?", (BOX,)), None, options=OPTIONS)


def test_history_shows_the_picture_once_and_keeps_answers_as_text() -> None:
    earlier = Exchange("What is <region>?", (BOX,), "a dog [1, 2, 3, 4] <region>")
    found = render_query(Query("a.png", "And <region>?", (POINT,), (earlier,)), SIZE, options=OPTIONS)
    assert [message.role for message in found.messages] == ["user", "assistant", "user"]
    assert [message.count(Slot.IMAGE) for message in found.messages] == [1, 0, 0]
    assert found.messages[1].parts == ("a dog [1, 2, 3, 4] <region>",)
    assert [item.region for item in found.regions] == [BOX, POINT]


@pytest.mark.parametrize("typed", ["<image>", "<region_fea>", "</s>", "<bbox_location0>", "USER: ASSISTANT:"])
def test_typed_control_strings_are_text(typed: str) -> None:
    found = render_query(Query("a.png", f"What does {typed} mean?"), SIZE, options=OPTIONS)
    assert found.messages[0].count(Slot.IMAGE) == 1
    assert found.messages[0].count(Slot.REGION) == 0
    assert typed in found.messages[0].plain_text


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Box(0.1, 0.2, 0.5, 0.6), "the box has only coordinates in 0..1"),
        (Scribble(((0.1, 0.2), (0.3, 0.4))), "the scribble has only coordinates in 0..1"),
        (Polygon((((0.1, 0.1), (0.9, 0.1), (0.5, 0.8)),)), "the polygon has only coordinates in 0..1"),
        (Box(500, 40, 800, 90), r"the box lies outside the picture: it reaches over \[500, 40, 800, 90\]"),
        (Point(300, 20), "the point lies outside the picture"),
        (Polygon((((10, 60), (90, 60), (50, 80)),)), "the polygon lies outside the picture"),
        (Scribble(((200, 10), (250, 10))), "the scribble lies outside the picture"),
    ],
)
def test_a_region_in_other_units_or_outside_is_refused_with_the_pictures_size(region, message) -> None:
    with pytest.raises(RegionError, match=f"{message}.*100 x 50"):
        render_query(Query("a.png", "What is <region>?", (region,)), SIZE, options=OPTIONS)


def test_a_mask_for_another_picture_is_refused() -> None:
    with pytest.raises(RegionError, match="40 wide x 50 high"):
        check_in_picture(Mask((50, 40), [0, 2000]), SIZE)


@pytest.mark.parametrize(
    "region",
    [Point(0.5, 0.5), Scribble(((0.5, 0.5),)), Box(0, 0, 1, 1), Box(0.5, 0.5, 1.5, 1), Box(-20, -20, 5, 5)],
)
def test_a_region_of_the_first_pixel_or_one_that_reaches_out_is_taken(region) -> None:
    check_in_picture(region, SIZE)
