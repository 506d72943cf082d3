import pytest

from mustela.evaluate.grounding import chance_scores, question_ious, score_boxes

HIT = "a dog [100, 200, 300, 400]."
UNREADABLE = [
    "[100, 200, 300]",
    "(764,25),(1659,1)",
    "(987,369),(10825,370),(1141,760)",
    "none",
    "",
    "[1e400,0,1,1]",
    "a dog [100, 200",
    "[]",
    "the box",
    "[a, b, c, d]",
]


@pytest.mark.parametrize(
    "text",
    [
        "The dog [100, 200, 300, 400].",
        "(100,200),(300,400)",
        "<box>[[100, 200, 300, 400]]</box>",
        "[100.0,200.0,300.0,400.0]",
        "[300, 400, 100, 200]",
    ],
)
def test_a_box_is_found_in_whatever_form_it_is_written(make_prediction, text: str) -> None:
    assert question_ious(make_prediction(text=text)).tolist() == [1.0]


def test_answers_on_another_scale_are_read_on_it(make_prediction) -> None:
    assert question_ious(make_prediction(text="[0.1, 0.2, 0.3, 0.4]", scale="unit")) == pytest.approx([1.0])
    assert question_ious(make_prediction(text="[64, 96, 192, 192]", scale="pixels")) == pytest.approx([1.0])


def test_a_set_without_any_readable_box_scores_zero_and_says_why(make_prediction) -> None:
    predictions = [
        make_prediction(question_id=str(i), picture=str(i), text=text) for i, text in enumerate(UNREADABLE)
    ]
    found = score_boxes(predictions)
    assert found["acc_50"]["value"] == 0.0
    assert found["mean_iou"]["value"] == 0.0
    assert found["parse_failures"] == 10
    assert found["parse_failure_rate"]["value"] == 1.0
    assert sum(found["parse_failure_reasons"].values()) == 10
    assert "a number is not finite" in found["parse_failure_reasons"]


def test_an_iou_of_exactly_one_half_is_a_hit(make_prediction) -> None:
    truth = ((0.0, 0.0, 640.0, 480.0),)
    half = make_prediction(text="[0, 500, 1000, 1000]", reference_boxes=truth)
    assert question_ious(half).tolist() == [0.5]
    assert score_boxes([half])["acc_50"]["value"] == 1.0
    assert score_boxes([half])["acc_60"]["value"] == 0.0


def test_thousandths_are_not_read_as_pixels(make_prediction) -> None:
    truth = ((10.0, 20.0, 40.0, 60.0),)
    found = question_ious(make_prediction(text="[15, 41, 63, 126]", reference_boxes=truth))
    assert found[0] > 0.9


def test_surplus_boxes_cost_as_missing_ones_do(make_prediction) -> None:
    two = make_prediction(text=HIT + " a dog [0, 0, 50, 50].")
    boxes = ((64.0, 96.0, 192.0, 192.0), (300.0, 300.0, 400.0, 400.0))
    missed = make_prediction(reference_boxes=boxes, reference_phrases=("dog", "dog"))
    assert score_boxes([two])["acc_50"]["value"] == 0.5
    assert score_boxes([missed])["acc_50"]["value"] == 0.5
    assert score_boxes([make_prediction(text=HIT + " Again: " + HIT)])["acc_50"]["value"] == 1.0


def test_the_right_box_with_the_wrong_name_counts_only_as_a_box(make_prediction) -> None:
    truth = {
        "reference_boxes": ((64.0, 96.0, 192.0, 192.0), (320.0, 240.0, 448.0, 336.0)),
        "reference_phrases": ("dog", "cat"),
    }
    right = make_prediction(text="a cat [500, 500, 700, 700] and a dog [100, 200, 300, 400].", **truth)
    swapped = make_prediction(text="a dog [500, 500, 700, 700] and a cat [100, 200, 300, 400].", **truth)
    assert [score_boxes([item])["acc_50"]["value"] for item in (right, swapped)] == [1.0, 1.0]
    assert [score_boxes([item])["named_acc_50"]["value"] for item in (right, swapped)] == [1.0, 0.0]


def test_chance_is_what_other_pictures_boxes_would_score(make_prediction) -> None:
    same = [make_prediction(question_id=str(i), picture=str(i)) for i in range(6)]
    assert chance_scores(same).at[0.5] == 1.0
    apart = [
        make_prediction(
            question_id=str(i), picture=str(i), reference_boxes=((100.0 * i, 0.0, 100.0 * i + 50, 50.0),)
        )
        for i in range(6)
    ]
    assert chance_scores(apart).at[0.5] == 0.0
    assert chance_scores(apart).mean_iou == 0.0
    assert chance_scores(apart, seed=3) == chance_scores(apart, seed=3)


def test_chance_moves_boxes_between_pictures_of_different_size(make_prediction) -> None:
    small = make_prediction(picture="b.png", image_wh=(64, 48), reference_boxes=((6.4, 9.6, 19.2, 19.2),))
    assert chance_scores([make_prediction(), small]).at[0.9] == 1.0


def test_one_picture_has_no_chance_level(make_prediction) -> None:
    assert chance_scores([make_prediction(), make_prediction(question_id="r")]) is None
    assert score_boxes([make_prediction()])["acc_50"]["levels"] == {}


def test_scores_are_given_by_what_was_asked_for(make_prediction) -> None:
    cat = make_prediction(question_id="c", reference_phrases=("cat",), text="none")
    found = score_boxes([make_prediction(), cat])
    assert {name: item["value"] for name, item in found["classes"].items()} == {"cat": 0.0, "dog": 1.0}
    assert found["macro_acc_50"]["value"] == 0.5
