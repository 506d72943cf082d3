import json
import math

import pytest

from mustela.evaluate.metrics import score_predictions

FRACTIONS = (
    "referring_accuracy",
    "referring_macro_accuracy",
    "grounding_acc_50",
    "presence_accuracy",
    "parse_failure_rate",
)


def referring(make_prediction, pairs: list[tuple[str, str]]) -> list:
    return [
        make_prediction(
            question_id=str(i),
            picture=str(i),
            kind="referring",
            reference=reference,
            text=text,
            reference_boxes=(),
        )
        for i, (reference, text) in enumerate(pairs)
    ]


def yes_no(make_prediction, pairs: list[tuple[str, str]]) -> list:
    return [
        make_prediction(
            question_id=str(i), kind="presence", reference=reference, text=text, reference_boxes=()
        )
        for i, (reference, text) in enumerate(pairs)
    ]


def numbers_in(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers_in(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [value] if isinstance(value, int | float) else []


def test_an_empty_set_has_all_fractions_and_divides_by_nothing() -> None:
    found = score_predictions([])
    assert {name: found[name] for name in FRACTIONS} == dict.fromkeys(FRACTIONS, 0.0)
    assert found["questions"]["total"] == 0
    assert found["kinds"] == {}


def test_accuracy_counts_the_same_words_and_exact_match_the_same_letters(make_prediction) -> None:
    pairs = [
        ("a red star.", "It is a RED star"),
        ("a red star.", "a red star."),
        ("a red star.", "a blue star."),
    ]
    found = score_predictions(referring(make_prediction, pairs))
    assert found["referring_accuracy"] == pytest.approx(2 / 3)
    assert found["kinds"]["referring"]["exact_match"]["value"] == pytest.approx(1 / 3)


def test_the_macro_average_weighs_every_class_alike(make_prediction) -> None:
    pairs = [("a cat.", "a cat.")] * 8 + [("a dog.", "a cat.")] * 2
    found = score_predictions(referring(make_prediction, pairs))
    detail = found["kinds"]["referring"]
    assert found["referring_accuracy"] == pytest.approx(0.8)
    assert found["referring_macro_accuracy"] == pytest.approx(0.5)
    assert {name: item["value"] for name, item in detail["classes"].items()} == {"cat": 1.0, "dog": 0.0}
    assert detail["accuracy"]["levels"] == {"chance": 0.5, "majority": 0.8}
    assert detail["mistakes"] == [{"reference": "dog", "answer": "cat", "count": 2}]


def test_the_confusion_table_has_a_column_for_answers_of_no_class(make_prediction) -> None:
    pairs = [("a cat.", "a cat."), ("a dog.", "a cat."), ("a dog.", "a horse.")]
    table = score_predictions(referring(make_prediction, pairs))["kinds"]["referring"]["confusion"]
    assert table["labels"] == ["cat", "dog"]
    assert table["columns"] == ["cat", "dog", "(another answer)"]
    assert table["counts"] == [[1, 0, 0], [1, 0, 1]]


def test_many_classes_leave_the_confusion_table_out(make_prediction) -> None:
    pairs = [(f"thing {i}", f"thing {i}") for i in range(150)]
    detail = score_predictions(referring(make_prediction, pairs))["kinds"]["referring"]
    assert detail["confusion"] is None
    assert len(detail["classes"]) == 100
    assert detail["number_of_classes"] == 150
    assert detail["macro_accuracy"]["value"] == 1.0


def test_presence_is_judged_by_how_the_answer_begins(make_prediction) -> None:
    pairs = [("Yes.", "Yes, a dog."), ("No.", "NO"), ("No.", "Perhaps."), ("Yes.", "No."), ("Yes.", "yes")]
    found = score_predictions(yes_no(make_prediction, pairs))
    detail = found["kinds"]["presence"]
    assert found["presence_accuracy"] == pytest.approx(0.6)
    assert detail["balanced_accuracy"]["value"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert detail["said"] == {"yes": 2, "no": 2, "unclear": 1}
    assert detail["accuracy"]["levels"] == {"chance": 0.5, "majority": 0.6}


def test_presence_with_one_kind_of_answer_only_has_a_majority_of_all(make_prediction) -> None:
    detail = score_predictions(yes_no(make_prediction, [("No.", "No.")] * 3))["kinds"]["presence"]
    assert detail["balanced_accuracy"]["levels"]["majority"] == 1.0


def test_every_number_is_finite_and_within_its_interval(make_prediction) -> None:
    predictions = [
        *referring(make_prediction, [("a cat.", "")] * 3),
        *yes_no(make_prediction, [("No.", "")] * 3),
        *[make_prediction(question_id=f"g{i}", picture=str(i % 4), text="") for i in range(9)],
        make_prediction(question_id="t", kind="text", text="", reference_boxes=()),
        make_prediction(question_id="d", kind="detection", text=""),
    ]
    found = score_predictions(predictions)
    assert all(math.isfinite(number) for number in numbers_in(found))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    measure = found["kinds"]["grounding"]["acc_50"]
    assert measure["low"] <= measure["value"] <= measure["high"]
    assert found["questions"] == {
        "total": 17, "referring": 3, "grounding": 9, "presence": 3, "relation": 0, "detection": 1, "text": 1,
    }  # fmt: skip


def test_the_convention_of_the_iou_is_written_down() -> None:
    assert "without +1" in score_predictions([])["iou_convention"]
