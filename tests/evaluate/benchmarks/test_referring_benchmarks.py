"""LVIS, PACO, POPE, and COCO detection in miniature, figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.benchmarks.conftest import ScoreTexts, coco, picture, values, write_json, write_lines

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.benchmarks import ScoreTools, find_benchmark
from mustela.evaluate.benchmarks.open_vocabulary import read_name, semantic_iou
from mustela.regions import Box, Mask, Point, Scribble


@pytest.fixture
def lvis(tmp_path: Path) -> Path:
    """Two pictures; the second may have a kite that nobody annotated."""
    data = coco([], [(0, 1, [10, 10, 30, 20]), (1, 2, [0, 0, 50, 40])], ["kite", "", "", "bus"])
    data["categories"] = [
        {"id": 1, "name": "cat", "synonyms": ["cat", "kitty"], "frequency": "f"},
        {"id": 2, "name": "shirt_(clothing)", "synonyms": ["shirt"], "frequency": "r"},
        {"id": 3, "name": "kite", "synonyms": ["kite"], "frequency": "c"},
    ]
    data["images"] = [
        {"id": number, "coco_url": f"http://x/val2017/{number}.jpg", "width": 100, "height": 50, **more}
        for number, more in enumerate(
            [{"not_exhaustive_category_ids": [2]}, {"not_exhaustive_category_ids": [3]}]
        )
    ]
    for number in range(2):
        picture(tmp_path / "val2017" / f"{number}.jpg")
    write_json(tmp_path / "lvis_v1_val.json", data)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"), [("lvis_point", Point), ("lvis_box", Box), ("lvis_free_form", Scribble)]
)
def test_lvis_draws_the_same_test_set(lvis: Path, name: str, kind: type) -> None:
    benchmark = find_benchmark(name)
    items = benchmark.items(lvis)
    assert items == benchmark.items(lvis)
    assert [item.picture for item in items] == ["val2017/0.jpg", "val2017/1.jpg"]
    # Neither what the picture has nor what it may have is the other name.
    assert [item.truth["wrong"]["name"] for item in items] == ["kite", "cat"]
    assert all(isinstance(item.regions[0], kind) for item in items)
    inside = Mask.from_array(np.pad(np.ones((20, 30), bool), ((10, 20), (10, 60))))
    if kind is not Box:
        raster = items[0].regions[0].raster((100, 50))
        assert (raster & inside.raster((100, 50))).any()
    assert {item.question for item in items} <= {
        "Is <region> a cat or a kite?",
        "Is <region> a kite or a cat?",
        "Is <region> a shirt or a cat?",
        "Is <region> a cat or a shirt?",
    }


def test_lvis_questions_depend_on_the_seed_alone(lvis: Path) -> None:
    benchmark = find_benchmark("lvis_point")
    drawn = {str(benchmark.items(lvis, seed=seed)[0].regions) for seed in range(5)}
    assert len(drawn) > 1
    same = [
        [item.question for item in find_benchmark(name).items(lvis)] for name in ("lvis_point", "lvis_box")
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("text", "accuracy", "only", "failed"),
    [
        ("a cat.", 1, 1, 0),
        ("It is a kitty", 1, 1, 0),
        ("a kite", 0, 0, 0),
        ("It is not a cat, it is a kite", 0, 0, 0),
        ("a cat or a kite", 1, 0, 0),
        ("a dog", 0, 0, 1),
        ("", 0, 0, 1),
    ],
)
def test_lvis_answers(
    lvis: Path, score_texts: ScoreTexts, text: str, accuracy: int, only: int, failed: int
) -> None:
    scored = score_texts("lvis_box", lvis, {"0": text, "1": "a shirt"})
    assert values(scored) == {
        "accuracy": (accuracy + 1) / 2,
        "only_right_name": (only + 1) / 2,
        "macro_accuracy": (accuracy + 1) / 2,
    }
    assert scored.metrics["parse_failures"] == failed
    assert scored.metrics["groups"]["frequency"]["rare"]["value"] == 1.0
    assert scored.metrics["groups"]["region kind"]["box"]["n"] == 2


@pytest.fixture
def osprey(tmp_path: Path) -> Path:
    picture(tmp_path / "val2017" / "a.jpg")
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    entry = {
        "id": 5,
        "file_name": "a.jpg",
        "width": 100,
        "height": 50,
        "annotations": [{"segmentation": square, "bbox": [10, 10, 20, 20]}] * 2,
        "categories": ["dining_table", "dog"],
    }
    for name in ("lvis", "paco"):
        write_json(tmp_path / f"{name}_val_1k_category.json", [entry])
    return tmp_path


class Letters:
    """Texts as counts of letters; enough to tell the same from another."""

    def similarities(self, first: list[str], second: list[str]) -> list[float]:
        def vector(text: str) -> np.ndarray:
            counts = np.bincount([ord(letter) for letter in text if letter.isascii()] or [0], minlength=128)
            return counts / np.linalg.norm(counts)

        return [float(vector(a) @ vector(b)) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("name", ["lvis_open", "paco_open"])
def test_semantic_figures(osprey: Path, score_texts: ScoreTexts, name: str) -> None:
    answers = {"5-0": "Category: Table.", "5-1": "dog"}
    scored = score_texts(name, osprey, answers)
    # {table} of {dining, table} is 1 / 2, {dog} of {dog} is 1.
    assert values(scored) == {"semantic_iou": 0.75}
    assert "sentence encoder" in scored.metrics["notes"][0]
    with_encoder = values(score_texts(name, osprey, answers, tools=ScoreTools(encoder=Letters())))
    assert list(with_encoder) == ["semantic_iou", "semantic_similarity"]
    # "table" has 5 of the letters of "dining table", whose counts have the norm 4; "dog" is the same.
    assert with_encoder["semantic_similarity"] == pytest.approx((5 / (4 * 5**0.5) + 1) / 2, abs=1e-6)


def test_names_are_read_and_compared() -> None:
    assert read_name(" The category is: Red Car. ") == "red car"
    assert read_name("a dog, a cat.") == "a dog a cat"
    assert semantic_iou("red car", "car") == 0.5
    assert semantic_iou("", "") == 0.0


@pytest.mark.parametrize("name", ["random", "popular", "adversarial"])
def test_pope(tmp_path: Path, score_texts: ScoreTexts, name: str) -> None:
    picture(tmp_path / "val2014" / "COCO_val2014_000000000001.jpg")
    labels = ["yes", "yes", "yes", "no", "no"]
    lines = [
        {
            "question_id": n,
            "image": "COCO_val2014_000000000001.jpg",
            "text": f"Is there a {n}?",
            "label": label,
        }
        for n, label in enumerate(labels, start=1)
    ]
    write_lines(tmp_path / f"coco_pope_{name}.json", lines)
    answers = ["Yes.", "No.", "There is not.", "yes", "No, there is no."]
    texts = {f"{name}-{n}": text for n, text in enumerate(answers, start=1)}
    scored = score_texts("pope", tmp_path, texts, split=name)
    # One hit, one false yes, two misses, one right no.
    assert values(scored) == pytest.approx(
        {"accuracy": 0.4, "precision": 0.5, "recall": 1 / 3, "f1": 0.4, "yes_share": 0.4}, abs=1e-6
    )
    assert scored.metrics["figures"]["precision"]["n"] == 2
    assert scored.metrics["parse_failures"] == 1
    # An answer that is missing is wrong, whatever the truth.
    del texts[f"{name}-5"], texts[f"{name}-1"]
    assert values(score_texts("pope", tmp_path, texts, split=name))["accuracy"] == 0.0


@pytest.mark.parametrize("right", [True, False])
def test_pope_intervals_are_no_points(tmp_path: Path, score_texts: ScoreTexts, right: bool) -> None:
    names = [f"COCO_val2014_{n}.jpg" for n in range(12)]
    for name in names:
        picture(tmp_path / name)
    lines = [
        {"question_id": n, "image": name, "text": "Is it?", "label": "yes" if n % 2 else "no"}
        for n, name in enumerate(names)
    ]
    write_lines(tmp_path / "coco_pope_random.json", lines)
    texts = {f"random-{n}": "Yes." if (n % 2 == 1) is right else "No." for n in range(12)}
    figures = score_texts("pope", tmp_path, texts, split="random").metrics["figures"]
    # Wilson of 6 in 6 begins at 0.610; that of 0 in 6 mirrors it.
    low, high = (0.610, 1.0) if right else (0.0, 0.390)
    for name in ("precision", "recall", "f1"):
        assert figures[name]["value"] == float(right)
        assert (figures[name]["low"], figures[name]["high"]) == pytest.approx((low, high), abs=1e-3)
        assert figures[name]["interval"].startswith("Wilson")


def test_pope_labels_are_checked(tmp_path: Path) -> None:
    picture(tmp_path / "COCO_val2014_1.jpg")
    line = {"question_id": 1, "image": "COCO_val2014_1.jpg", "text": "?", "label": "maybe"}
    write_lines(tmp_path / "coco_pope_random.json", [line])
    with pytest.raises(RecordError, match="'maybe' is neither yes nor no"):
        find_benchmark("pope").items(tmp_path, split="random")
    with pytest.raises(ConfigError, match=r"has no coco_pope_popular\.json"):
        find_benchmark("pope").items(tmp_path, split="popular")


def test_coco_detection(tmp_path: Path, score_texts: ScoreTexts) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "val2017" / name)
    objects = [
        (0, 0, [0.0, 0.0, 40.0, 40.0]),
        (0, 1, [50.0, 0.0, 40.0, 40.0]),
        (1, 0, [10.0, 0.0, 40.0, 40.0]),
    ]
    write_json(tmp_path / "instances_val2017.json", coco(["a.jpg", "b.jpg"], objects, ["dog", "cat"]))
    scored = score_texts(
        "coco_detection",
        tmp_path,
        {
            "0": "a dog [0, 0, 40, 40], cats [50, 0, 90, 40] and a unicorn [0, 0, 9, 9].",
            "1": "nothing",
        },
    )
    found = values(scored)
    # Cats: AP 1. Dogs: one of two found, precision 1 up to recall 1 / 2: 51 of 101 points.
    assert found["ap"] == pytest.approx((1 + 51 / 101) / 2, abs=1e-6)
    assert found["ap_50"] == found["ap"]
    assert found["ar_100"] == 0.75
    assert "ap_large" not in found
    assert scored.metrics["details"]["boxes_without_a_category"] == 1
    assert scored.metrics["parse_failures"] == 1
    nothing = values(score_texts("coco_detection", tmp_path, {}))
    assert nothing["ap"] == nothing["ar_100"] == 0.0


def test_coco_detection_has_intervals_from_resampled_pictures(
    tmp_path: Path, score_texts: ScoreTexts
) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    for name in names:
        picture(tmp_path / "val2017" / name)
    objects = [(number, 0, [0.0, 0.0, 40.0, 40.0]) for number in range(12)]
    write_json(tmp_path / "instances_val2017.json", coco(names, objects, ["dog"]))
    right = {str(number): "a dog [0, 0, 40, 40]" for number in range(12)}
    perfect = score_texts("coco_detection", tmp_path, right).metrics["figures"]["ap"]
    assert (perfect["value"], perfect["low"], perfect["high"]) == pytest.approx((1.0, 1.0, 1.0))
    half = {**right, **{str(number): "nothing" for number in range(6)}}
    found = score_texts("coco_detection", tmp_path, half).metrics["figures"]
    assert found["ar_100"]["value"] == pytest.approx(0.5)
    # Of 12 pictures, 6 of them found: the share of found ones varies by sqrt(0.25 / 12).
    spread = 1.96 * (0.25 / 12) ** 0.5
    assert found["ar_100"]["low"] == pytest.approx(0.5 - spread, abs=0.1)
    assert found["ar_100"]["high"] == pytest.approx(0.5 + spread, abs=0.1)
    assert found["ar_100"]["interval"] == "bootstrap over pictures"
