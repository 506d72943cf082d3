"""Free-form questions that no rule about bounding boxes can answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.data.shapes.oracle import iou, pixels, pointed_at, read_region
from tests.data.shapes.scenes import Sample, make_samples

from mustela.data.shapes import Scene, Thing, load_world
from mustela.data.shapes.freeform import NEAR_PIXELS, SAME_BOX_IOU

Pair = tuple[Scene, list[dict[str, Any]], list[str]]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Scene, two regions and two answers of every pair."""
    found: list[Pair] = []
    for sample in make_samples(load_world("first"), 200, splits=("val",)):
        records = sample.records["val_freeform"]
        assert len(records) % 2 == 0
        for first, second in zip(records[::2], records[1::2], strict=True):
            regions = [record["regions"][0][0] for record in (first, second)]
            answers = [record["conversations"][1]["value"] for record in (first, second)]
            found.append((sample.scene, regions, answers))
    return found


def box_of(region: dict[str, Any]) -> tuple[float, float, float, float]:
    return read_region(region).bounds_xyxy()


def most_pixels(scene: Scene, box: tuple[float, float, float, float]) -> Thing:
    x1, y1, x2, y2 = (int(side) for side in np.rint(box))
    return max(scene.things, key=lambda thing: int(thing.mask[y1:y2, x1:x2].sum()))


def best_box(scene: Scene, box: tuple[float, float, float, float]) -> Thing:
    return max(scene.things, key=lambda thing: iou(thing.box, box))


def at_the_middle(scene: Scene, box: tuple[float, float, float, float]) -> Thing:
    rows, columns = np.indices(scene.things[0].mask.shape)
    away = np.hypot(columns - (box[0] + box[2]) / 2, rows - (box[1] + box[3]) / 2)
    return min(scene.things, key=lambda thing: float(away[thing.mask].min()))


@pytest.mark.parametrize("rule", [most_pixels, best_box, at_the_middle])
def test_rules_about_the_box_do_hardly_better_than_a_coin(
    pairs: list[Pair], rule: Callable[[Scene, tuple[float, float, float, float]], Thing]
) -> None:
    right = [
        rule(scene, box_of(region)).name in answer
        for scene, regions, answers in pairs
        for region, answer in zip(regions, answers, strict=True)
        if region["type"] != "point"
    ]
    assert len(right) > 150
    assert sum(right) / len(right) < 0.64


def test_the_pixels_of_the_region_tell_the_object(pairs: list[Pair]) -> None:
    right = [
        max(scene.things, key=lambda thing: int((thing.mask & pixels(region, scene)).sum())).name in answer
        for scene, regions, answers in pairs
        for region, answer in zip(regions, answers, strict=True)
    ]
    assert sum(right) / len(right) > 0.99


def test_pairs_have_two_names_and_about_one_box(pairs: list[Pair]) -> None:
    for scene, regions, answers in pairs:
        assert answers[0] != answers[1]
        assert regions[0]["type"] == regions[1]["type"]
        assert pointed_at(regions[0], scene) is not pointed_at(regions[1], scene)
        first, second = (box_of(region) for region in regions)
        if regions[0]["type"] == "point":
            apart = np.subtract(regions[0]["xy"], regions[1]["xy"])
            assert np.hypot(*apart) <= NEAR_PIXELS
        else:
            assert iou(first, second) > 0.7 * SAME_BOX_IOU


def test_all_four_kinds_occur(pairs: list[Pair]) -> None:
    kinds = [regions[0]["type"] for _, regions, _ in pairs]
    for kind in ("point", "scribble", "polygon", "mask"):
        assert kinds.count(kind) > 0.07 * len(kinds), kind


def test_only_free_form_regions_without_masks_are_asked_about(samples: list[Sample]) -> None:
    for sample in samples:
        for record in sample.records.get("val_freeform", []):
            assert "box_x1y1x2y2" not in record
            assert set(record["regions"][0][0]) <= {
                "type",
                "xy",
                "points",
                "width",
                "rings",
                "size",
                "counts",
            }
