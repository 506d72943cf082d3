import pytest

from mustela.data.message import Slot
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.errors import CountMismatchError, RegionError
from mustela.infer import Exchange, Query, render_query
from mustela.regions import Box, Point, Polygon

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
