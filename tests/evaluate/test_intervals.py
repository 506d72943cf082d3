import numpy as np
import pytest

from mustela.evaluate.intervals import interval, wilson


def test_wilson_gives_the_published_values() -> None:
    # Newcombe (1998), table I, method 3: 81 of 263, and 15 of 148.
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    found = wilson(15, 148)
    assert (found.low, found.high) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_without_questions_nothing_is_known() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert interval([], []).method == "none"


def test_pictures_are_resampled_and_few_or_equal_scores_fall_back_to_wilson() -> None:
    pictures = [str(index // 5) for index in range(100)]
    scores = [float(index % 2) for index in range(100)]
    assert interval(scores, pictures).method == "bootstrap over pictures"
    assert interval([1.0] * 100, pictures).method == "Wilson"
    assert interval([1.0] * 100, pictures).high == 1.0
    assert interval([1.0] * 100, pictures).low < 1.0
    assert interval(scores[:20], pictures[:20]).method == "Wilson"


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    scores, pictures = rng.integers(0, 2, 300).astype(float).tolist(), [str(i % 40) for i in range(300)]
    assert interval(scores, pictures, seed=1) == interval(scores, pictures, seed=1)
    assert interval(scores, pictures, seed=1) != interval(scores, pictures, seed=2)


def test_questions_about_one_picture_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    per_picture = np.repeat(rng.integers(0, 2, 40), 20).astype(float).tolist()
    pictures = [str(i // 20) for i in range(800)]
    clustered = interval(per_picture, pictures)
    naive = wilson(sum(per_picture), 800)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)


def test_the_bounds_of_a_macro_average_enclose_it_also_with_few_pictures() -> None:
    scores = [1.0] * 98 + [0.0] * 2
    classes = ["common"] * 98 + ["rare"] * 2
    found = interval(scores, ["one picture"] * 100, classes=classes)
    assert found.low < 0.5 < found.high
