"""Variants of a question, and figures over their answers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.errors import ConfigError, RecordError
from mustela.evaluate.questions import questions_from
from mustela.evaluate.robustness import VariantAnswer, evaluate_robustness, score_robustness, variants_of
from mustela.evaluate.robustness.variants import PARAPHRASES, empty_place, moved
from mustela.infer import Query
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

WH = (80, 60)
BOX = (10.0, 10.0, 30.0, 40.0)


def record(region: Region, mask: Mask | None = None, *, name: str = "a") -> Record:
    turns = (
        Turn("user", "<image>\nWhat is <bbox_location0>?", (RegionAnnotation(region, mask),)),
        Turn("assistant", "a dog."),
    )
    return Record(name, (ImageRef("a.png", WH),), turns)


def disc() -> Mask:
    rows, columns = np.mgrid[: WH[1], : WH[0]]
    return Mask.from_array((columns - 20) ** 2 + (rows - 25) ** 2 < 100)


def test_every_family_has_its_variants() -> None:
    (question,) = questions_from([record(Box(*BOX), disc())])
    image = Image.new("RGB", WH)
    found = list(variants_of(question, image, taken=[BOX]))
    names = [(variant.family, variant.name) for variant in found]
    assert names[:5] == [
        ("plain", "as asked"),
        ("form", "point"),
        ("form", "box"),
        ("form", "scribble"),
        ("form", "mask"),
    ]
    assert [family for family, _ in names].count("paraphrase") == len(PARAPHRASES) - 1
    by_name = {variant.name: variant for variant in found}
    assert by_name["mask"].query.regions == (disc(),)
    assert by_name["box"].query.regions == (Box(*BOX),)
    pixels = disc().raster(WH)
    point = by_name["point"].query.regions[0]
    assert isinstance(point, Point)
    assert pixels[int(point.y), int(point.x)]
    stroke = by_name["scribble"].query.regions[0]
    assert isinstance(stroke, Scribble)
    assert all(pixels[int(y), int(x)] for x, y in stroke.points)
    for variant in found:
        if variant.family == "jitter":
            moved_by = np.abs(np.array(variant.query.regions[0].bounds_xyxy()) - BOX)
            assert (moved_by <= [2, 3, 2, 3]).all()
            assert moved_by.any()
    assert by_name["size x 0.5"].query.image.size == (40, 30)
    assert by_name["size x 0.5"].query.regions == (Box(5, 5, 15, 20),)
    assert by_name["all round"].query.image.size == (120, 90)
    assert by_name["all round"].query.regions == (Box(30, 25, 50, 55),)
    assert by_name["right and bottom"].query.regions == (Box(*BOX),)
    # The same again, for the same seed and question.
    assert [v.query.regions for v in variants_of(question, image, taken=[BOX])] == [
        v.query.regions for v in found
    ]


def test_without_a_mask_there_are_fewer_forms() -> None:
    (question,) = questions_from([record(Box(*BOX))])
    found = [v for v in variants_of(question, Image.new("RGB", WH), taken=[]) if v.family == "form"]
    assert [v.query.regions[0] for v in found] == [Box(*BOX), Point(20, 25)]


@pytest.mark.parametrize(
    "region",
    [
        Point(20, 10),
        Box(*BOX),
        Scribble(((10, 10), (30, 40)), 4),
        Polygon((((10, 10), (30, 10), (30, 40)),)),
        Mask.from_array(np.pad(np.ones((30, 20), bool), ((10, 20), (10, 50)))),
    ],
)
def test_regions_move_with_their_picture(region: Region) -> None:
    found = moved(region, (2.0, 2.0), (5, 7), (200, 200))
    x1, y1, x2, y2 = region.bounds_xyxy()
    assert found.bounds_xyxy() == (2 * x1 + 5, 2 * y1 + 7, 2 * x2 + 5, 2 * y2 + 7)


def test_empty_places_touch_nothing() -> None:
    rng = np.random.default_rng(0)
    place = empty_place(Box(*BOX), [(0, 0, 50, 60)], WH, rng)
    assert place is not None
    assert place.x1 >= 50
    assert (place.x2 - place.x1, place.y2 - place.y1) == pytest.approx((20, 30))
    assert empty_place(Box(*BOX), [(0, 0, 80, 60)], WH, rng) is None
    assert empty_place(Box(0, 0, 90, 10), [], WH, rng) is None


def answer(family: str, name: str, text: str, *, question: str = "q1") -> VariantAnswer:
    return VariantAnswer(question, f"{question}.png", family, name, "?", "a dog", text)


def test_figures_worked_out_by_hand() -> None:
    answers = [
        answer("plain", "as asked", "a dog"),
        answer("form", "point", "Dog."),
        answer("form", "box", "a cat"),
        answer("nothing", "empty place", "a dog"),
        answer("plain", "as asked", "a cat", question="q2"),
        answer("form", "point", "a cat", question="q2"),
        answer("form", "box", "a cat", question="q2"),
        answer("nothing", "empty place", "background", question="q2"),
    ]
    found = score_robustness(answers)
    assert found["plain_accuracy"]["value"] == 0.5
    form = found["families"]["form"]
    # Pairs of q1: plain-point the same, the two others not; of q2 all three the same.
    assert form["consistency"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert form["accuracy"]["value"] == 0.25
    assert form["worst_case"]["value"] == 0.0
    assert form["loss"] == 0.25
    assert {name: each["value"] for name, each in form["by_variant"].items()} == {"point": 0.5, "box": 0.0}
    nothing = found["families"]["nothing"]
    assert (nothing["names_an_object"]["value"], nothing["same_answer"]["value"]) == (0.5, 0.5)
    assert "jitter" not in found["families"]


def test_a_model_is_asked_and_files_are_left(tmp_path: Path) -> None:
    Image.new("RGB", WH).save(tmp_path / "a.png")
    asked: list[Query] = []

    def ask(queries: Sequence[Query]) -> list[str]:
        asked.extend(queries)
        return ["a dog" if isinstance(query.regions[0], Box) else "a cat" for query in queries]

    records = [record(Box(*BOX), disc(), name=str(number)) for number in range(3)]
    found = evaluate_robustness(ask, records, out_dir=tmp_path / "out", image_folder=tmp_path, limit=2)
    assert found["questions"] == 2
    assert found["families"]["form"]["by_variant"]["mask"]["value"] == 0.0
    assert found["families"]["jitter"]["consistency"]["value"] == 1.0
    lines = (tmp_path / "out" / "variants.jsonl").read_text().splitlines()
    assert len(lines) == len(asked)
    assert (
        json.loads((tmp_path / "out" / "robustness.json").read_text())["families"].keys()
        == found["families"].keys()
    )
    with pytest.raises(RecordError, match="no question about exactly one region"):
        evaluate_robustness(ask, [], out_dir=tmp_path / "out", image_folder=tmp_path)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    Image.new("RGB", WH).save(tmp_path / "a.png")
    records = [record(Box(*BOX), disc(), name=str(number)) for number in range(3)]
    asked: list[int] = []

    def ask(queries: Sequence[Query]) -> list[str]:
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        asked.append(len(queries))
        return ["a dog" if isinstance(query.regions[0], Box) else "a cat" for query in queries]

    def run(name: str, **options: Any) -> dict[str, Any]:
        options = {"asked": "weights", **options}
        return evaluate_robustness(ask, records, out_dir=tmp_path / name, image_folder=tmp_path, **options)

    stop_at = -1
    run("whole")
    asked.clear()
    stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    lines = tmp_path / "cut" / "variants.jsonl"
    lines.write_bytes(lines.read_bytes()[:-9])  # the second question's last line is torn
    asked.clear()
    stop_at = -1
    run("cut")
    assert len(asked) == 2
    assert (tmp_path / "cut/robustness.json").read_bytes() == (
        tmp_path / "whole/robustness.json"
    ).read_bytes()
    asked.clear()
    run("cut")
    assert not asked
    for other in ({"asked": "other weights"}, {"seed": 1}, {"limit": 1}, {"paraphrases": ["Is <region>?"]}):
        with pytest.raises(ConfigError, match=r"answers of another evaluation.*--overwrite"):
            run("cut", **other)
    assert run("cut", limit=1, overwrite=True)["questions"] == 1
