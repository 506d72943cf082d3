"""Mini versions of the benchmarks, in the official formats."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image
from tests.evaluate.benchmarks.stand_in import StandIn

from mustela.evaluate.benchmarks import Scored, ScoreTools, find_benchmark, join, score_benchmark
from mustela.evaluate.benchmarks.joining import Said

WH = (100, 50)


def picture(path: Path, size: tuple[int, int] = WH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 90, 90)).save(path)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, values: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def coco(
    names: Sequence[str], objects: Sequence[tuple[int, int, list[float]]], categories: Sequence[str]
) -> Any:
    """Return a COCO file: pictures by name, objects as (picture, category, xywh) numbered from 0."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": WH[0], "height": WH[1]}
            for number, name in enumerate(names)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [rectangle(box)],
            }
            for number, (image, category, box) in enumerate(objects)
        ],
    }


def rectangle(box: Sequence[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


@pytest.fixture
def refcoco(tmp_path: Path) -> Path:
    """Two objects with three sentences in val, one in testA; under the three names."""
    names = ["COCO_train2014_000000000007.jpg", "COCO_train2014_000000000009.jpg"]
    for name in names:
        picture(tmp_path / "images" / name)
    objects = [(0, 0, [10, 10, 40, 20]), (1, 1, [0, 0, 50, 50]), (1, 0, [60, 10, 20, 20])]
    refs = [
        (100, 0, 0, "val", ["left dog", "the dog"]),
        (101, 1, 1, "val", ["big cat"]),
        (102, 2, 1, "testA", ["small dog"]),
        (103, 2, 1, "test", ["a small dog", "the dog on the right"]),
    ]
    entries = [
        {
            "ref_id": ref,
            "ann_id": object_,
            "image_id": image,
            "category_id": objects[object_][1],
            "split": split,
            "file_name": names[image],
            "sentences": [{"sent": text, "sent_id": 10 * ref + n} for n, text in enumerate(sentences)],
        }
        for ref, object_, image, split, sentences in refs
    ]
    for folder, file in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        write_json(tmp_path / folder / "instances.json", coco(names, objects, ["dog", "cat"]))
        (tmp_path / folder / f"refs({file}).p").write_bytes(pickle.dumps(entries, protocol=2))
    google = [{**entries[0], "split": "test"}, {**entries[1], "split": "val"}]
    for folder in ("refcoco", "refcocog"):
        (tmp_path / folder / "refs(google).p").write_bytes(pickle.dumps(google, protocol=2))
    return tmp_path


ScoreTexts = Callable[..., Scored]


@pytest.fixture
def score_texts() -> ScoreTexts:
    """Score answers, texts by id, to a benchmark in a folder."""

    def score(
        name: str,
        root: Path,
        texts: Mapping[str, str],
        *,
        split: str | None = None,
        scale: Any = "pixels",
        tools: ScoreTools | None = None,
    ) -> Scored:
        benchmark = find_benchmark(name)
        items = benchmark.items(root, split=split)
        said = [Said(key, text, scale, None) for key, text in texts.items()]
        return score_benchmark(benchmark, join(items, said), split=split or benchmark.splits[0], tools=tools)

    return score


def values(scored: Scored) -> dict[str, float]:
    return {name: round(figure["value"], 6) for name, figure in scored.metrics["figures"].items()}


@pytest.fixture
def server() -> Iterator[StandIn]:
    found = StandIn()
    thread = Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()
