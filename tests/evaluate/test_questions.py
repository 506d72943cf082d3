import pytest

from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.evaluate.questions import (
    clean_phrase,
    phrases_before,
    question_kind,
    questions_from,
    used_regions,
)
from mustela.regions import Box, Point

BOX, OTHER = Box(1, 2, 30, 40), Box(5, 6, 50, 60)


def turn(role: str, text: str, *regions: Box | Point) -> Turn:
    return Turn(role, text, tuple(RegionAnnotation(region) for region in regions))


def ask(text: str, *regions: Box | Point) -> Turn:
    return turn("user", text, *regions)


def say(text: str, *regions: Box | Point) -> Turn:
    return turn("assistant", text, *regions)


def record(*turns: Turn, images: int = 1, name: str = "a") -> Record:
    return Record(
        name, tuple(ImageRef(f"{i}.jpg", (100, 80)) for i in range(images)), turns, system="Be kind."
    )


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        (ask("What is <bbox_location0>?", BOX), say("a dog."), "referring"),
        (ask("What is <bbox_location0>?", BOX), say("No entry sign."), "referring"),
        (ask("Where is the dog?"), say("a dog <bbox_location0>.", BOX), "grounding"),
        (ask("Where?"), say("a dog <bbox_location0> and a dog <bbox_location1>.", BOX, OTHER), "grounding"),
        (
            ask("Where is every ring?"),
            say("a red ring <bbox_location0>, a blue ring <bbox_location1>.", BOX, OTHER),
            "grounding",
        ),
        (
            ask("Name every object with its box."),
            say("a cat <bbox_location0>, a dog <bbox_location1>.", BOX, OTHER),
            "detection",
        ),
        (ask("Is there a dog?"), say("No."), "presence"),
        (ask("Is there a dog?"), say("Yes, it is at <bbox_location0>.", BOX), "presence"),
        (ask("Is <bbox_location0> left of <bbox_location1>?", BOX, OTHER), say("Yes."), "relation"),
        (ask("Locate every platelet."), say("There is no platelet in the image."), "text"),
        (ask("How many dogs?"), say("2."), "text"),
        (ask("Point at the dog."), say("<bbox_location0>", Point(3, 4)), "text"),
        (ask("Repeat <bbox_location0>.", BOX), say("<bbox_location0>", BOX), "text"),
    ],
)
def test_the_kind_of_a_question_is_seen_from_its_content(question: Turn, answer: Turn, kind: str) -> None:
    assert question_kind(question, answer) == kind


def test_every_question_stands_alone_so_that_no_answer_can_be_copied() -> None:
    asked = record(
        ask("<image>\nWhat is <bbox_location0>?", BOX),
        say("a dog."),
        ask("Where is the dog?"),
        say("a dog <bbox_location0>.", BOX),
    )
    first, second = questions_from([asked])
    assert [item.id for item in (first, second)] == ["a#0", "a#2"]
    assert [len(item.record.turns) for item in (first, second)] == [2, 2]
    assert second.question.text == "<image>\nWhere is the dog?"
    assert second.question.regions == ()
    assert second.record.system == "Be kind."


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("Where?", 0, "Where?"),
        ("Where?", 2, "<image>\n<image>\nWhere?"),
        ("<image> or <image>?", 2, "<image> or <image>?"),
        ("What does <image> mean?", 0, "What does <image> mean?"),
    ],
)
def test_every_picture_is_shown_once_and_typed_placeholders_stay(
    text: str, images: int, expected: str
) -> None:
    (found,) = questions_from([record(ask(text), say("yes"), images=images)])
    assert found.question.text == expected


def test_a_placeholder_typed_after_the_picture_was_shown_stays_text() -> None:
    first = ask("<image>\nHello")
    _, second = questions_from([record(first, say("Hi"), ask("What does <image> mean?"), say("Nothing."))])
    assert second.question.text == "<image>\nWhat does <image> mean?"


def test_ids_are_unique_and_the_limit_counts_questions() -> None:
    same = [record(ask("A?"), say("B"), ask("C?"), say("D"))] * 2
    assert [item.id for item in questions_from(same)] == ["a#0", "a#2", "a#0~2", "a#2~2"]
    assert [item.id for item in questions_from(same, limit=3)] == ["a#0", "a#2", "a#0~2"]


def test_a_question_without_an_answer_is_not_asked() -> None:
    assert questions_from([record(ask("A?"), say("B"), ask("C?"))])[-1].id == "a#0"
    assert questions_from([record(ask("A?"))]) == []


def test_regions_follow_the_text_and_count_once() -> None:
    swapped = ask("<bbox_location1> or <bbox_location0> or <bbox_location1>?", BOX, OTHER)
    assert [item.region for item in used_regions(swapped)] == [OTHER, BOX]


def test_phrases_are_the_words_before_a_box() -> None:
    text = "a white cell <bbox_location0> and a small cell <bbox_location1>. Also, the Dog <bbox_location2>!"
    assert phrases_before(text) == ("white cell", "small cell", "dog")
    assert phrases_before("a dog <bbox_location0>, yes, this dog <bbox_location0>.") == ("dog",)
    assert clean_phrase("I see a cat, and then the dog") == "dog"
    assert clean_phrase("") == ""
