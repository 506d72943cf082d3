import pytest

from mustela.evaluate.answers import normalise_answer, yes_or_no


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red star.", "red star"),
        ("It is a Red  STAR!", "red star"),
        ("It's the red star", "red star"),
        ("This is an apple", "apple"),
        ("the T-shirt", "t shirt"),
        ("The man's hat", "mans hat"),
        ("A", "a"),
        ("", ""),
        ("...", ""),
        ("itself", "itself"),
        ("Ünï", "ünï"),
        ("Ａ ｄｏｇ", "dog"),
        ("一只猫。", "一只猫"),
        ("3+4", "3+4"),
    ],
)
def test_answers_are_compared_up_to_case_articles_punctuation_and_blanks(text: str, expected: str) -> None:
    assert normalise_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, there is no doubt.", "yes"),
        ("yes", "yes"),
        ("NO", "no"),
        ("no.", "no"),
        ("No, there is no dog.", "no"),
        ("No there is none", "no"),
        ('"No."', "no"),
        ("No entry sign", None),
        ("nobody", None),
        ("notebook", None),
        ("Not visible.", None),
        ("I do not know", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_yes_and_no_are_read_from_how_an_answer_begins(text: str, expected: str | None) -> None:
    assert yes_or_no(text) == expected
