"""RefCOCO: every sentence a question, the first box, thresholds; and what doesn't add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluate.benchmarks.conftest import ScoreTexts, values

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.benchmarks import find_benchmark, join, score_benchmark
from mustela.evaluate.benchmarks.first_box import inclusive_iou
from mustela.evaluate.benchmarks.joining import Said
from mustela.regions import box_iou


@pytest.mark.parametrize(
    ("name", "split", "ids"),
    [
        ("refcoco", "val", ["100-1000", "100-1001", "101-1010"]),
        ("refcoco+", "testA", ["102-1020"]),
        ("refcocog", "test", ["103-1030", "103-1031"]),
        ("refcoco", "google_test", ["100-1000", "100-1001"]),
        ("refcocog", "google_val", ["101-1010"]),
    ],
)
def test_every_sentence_is_a_question(refcoco: Path, name: str, split: str, ids: list[str]) -> None:
    items = find_benchmark(name).items(refcoco, split=split)
    assert [item.id for item in items] == ids
    assert items[0].picture.startswith("images/COCO_train2014_")
    assert items[0].question == f"Where is {items[0].reference}?"


def test_figures_worked_out_by_hand(refcoco: Path, score_texts: ScoreTexts) -> None:
    # The dog is 10..50 x 10..30 (area 800), the cat 0..50 x 0..50 (2500).
    scored = score_texts(
        "refcoco",
        refcoco,
        {
            "100-1000": "a dog [10, 10, 50, 30]",  # IoU 1
            "100-1001": "[0, 0, 9, 9], no: [10, 10, 50, 30]",  # first box wrong, best one right
            "101-1010": "[0, 0, 50, 30]",  # IoU 1500 / 2500 = 0.6, exactly a threshold
        },
    )
    third = 1 / 3
    assert values(scored) == pytest.approx(
        {
            "acc_50": 2 * third,
            "acc_60": 2 * third,
            "acc_70": third,
            "acc_80": third,
            "acc_90": third,
            "mean_iou": 1.6 / 3,
            "acc_50_best": 1.0,
            "acc_50_inclusive": 2 * third,
        },
        abs=1e-6,
    )
    metrics = scored.metrics
    assert metrics["figures"]["acc_50"]["n"] == 3
    assert metrics["prompt"] == "Where is left dog?"
    assert {name: group["value"] for name, group in metrics["groups"]["class"].items()} == {
        "cat": 1.0,
        "dog": 0.5,
    }
    assert metrics["parse_failure_rate"]["value"] == 0.0
    assert "without +1" in metrics["iou_convention"]


def test_answers_in_thousandths_and_without_a_box(refcoco: Path, score_texts: ScoreTexts) -> None:
    scored = score_texts(
        "refcoco", refcoco, {"100-1000": "[100, 200, 500, 600]", "100-1001": "over there"}, scale="bins"
    )
    assert values(scored)["acc_50"] == pytest.approx(1 / 3)
    assert scored.metrics["parse_failures"] == 2
    assert scored.metrics["details"]["parse_failure_reasons"] == {
        "no coordinates in the answer": 1,
        "no answer": 1,
    }
    assert scored.metrics["ids"]["missing"] == 1


def test_ids_are_joined_never_positions(refcoco: Path) -> None:
    benchmark = find_benchmark("refcoco")
    items = benchmark.items(refcoco)
    right = [Said(item.id, str(list(item.boxes[0])), "pixels", None) for item in items]
    odd = [
        *right[::-1],
        Said("nobody", "[1, 2, 3, 4]", None, None),
        Said(right[0].id, "[0, 0, 1, 1]", "pixels", None),
    ]
    joined = join(items, odd)
    assert (joined.missing, joined.duplicates, joined.unknown) == ((), (items[0].id,), ("nobody",))
    assert joined.conflicting == (items[0].id,)
    scored = score_benchmark(benchmark, joined, split="val")
    assert scored.metrics["figures"]["acc_50"]["value"] == pytest.approx(2 / 3)
    with pytest.raises(RecordError, match="1 answered more than once"):
        score_benchmark(benchmark, joined, split="val", strict=True)
    # The same answers in any order, without the odd ones, are all right.
    assert (
        score_benchmark(benchmark, join(items, right[::-1]), split="val").metrics["figures"]["acc_50"][
            "value"
        ]
        == 1
    )


def test_both_iou_conventions() -> None:
    first, second = (278.0, 299.0, 302.0, 326.0), (286.5757, 301.9515, 300.103, 326.7515)
    assert box_iou([first], [second])[0, 0] == pytest.approx(0.4943, abs=1e-4)
    assert inclusive_iou(second, first) == pytest.approx(0.5119, abs=1e-4)
    assert inclusive_iou((10, 10, 0, 0), (0, 0, 10, 10)) == 0.0
    assert box_iou([(0, 0, 10, 10)], [(0, 5, 10, 10)])[0, 0] == 0.5
    assert box_iou([(5, 5, 5, 5)], [(5, 5, 5, 5)])[0, 0] == 0.0


def test_half_an_overlap_is_a_hit(refcoco: Path, score_texts: ScoreTexts) -> None:
    # 0..50 x 0..25 of the cat's 0..50 x 0..50.
    assert values(score_texts("refcoco", refcoco, {"101-1010": "[0, 0, 50, 25]"}))["acc_50"] == pytest.approx(
        1 / 3
    )


def test_xywh_of_the_file_becomes_corners_and_bins_become_pixels() -> None:
    from mustela.evaluate.benchmarks.coco_file import corners
    from mustela.evaluate.benchmarks.first_box import first_ious
    from mustela.evaluate.benchmarks.protocol import Answer, Item

    box = corners([10, 20, 30, 40], where="x")
    assert box == (10, 20, 40, 60)
    item = Item("a", "grounding", "a.jpg", (640, 480), "Where?", boxes=(box,))
    prediction = item.answered("[15, 41, 63, 126]")
    assert prediction.boxes()[0][0] == pytest.approx((9.6, 19.68, 40.32, 60.48))
    assert first_ious([Answer(item, prediction)])[0][0] > 0.9
    unsized = Item("a", "grounding", "a.jpg", None, "Where?", boxes=(box,))
    with pytest.raises(RecordError, match="size of its picture is missing"):
        first_ious([Answer(unsized, unsized.answered("[15, 41, 63, 126]"))])


def test_missing_files_and_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"refs\(unc\)\.p.*lichengunc"):
        find_benchmark("refcoco").items(tmp_path)
    with pytest.raises(ConfigError, match=r"no split 'testC'\. Choose one of: val, testA, testB"):
        find_benchmark("refcoco").items(tmp_path, split="testC")
    with pytest.raises(ConfigError, match=r"lacks files of RefCOCO: refcoco/refs\(google\)\.p"):
        find_benchmark("refcoco").items(tmp_path, split="google_val")
    with pytest.raises(ConfigError, match="there is no such folder"):
        find_benchmark("refcoco").items(tmp_path / "none")


def test_a_prompt_without_the_sentence_is_refused(refcoco: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks \{expression\}"):
        find_benchmark("refcoco").items(refcoco, prompt="Where is it?")
