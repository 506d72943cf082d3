"""The model that comes with the package, on scenes that it has never seen; the floors lie below its card."""

from __future__ import annotations

from pathlib import Path

import pytest

from mustela.data import read_records
from mustela.data.shapes import write_shapes
from mustela.evaluate import evaluate
from mustela.model import load_model, packaged_models, resolve_model_path


def test_it_is_found_by_name_and_small_enough_to_ship() -> None:
    assert "shapes-base" in packaged_models()
    folder = resolve_model_path("shapes-base")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 12e6
    assert {"README.md", "config.yaml", "log.jsonl", "metrics.json"} <= {
        file.name for file in folder.iterdir()
    }


@pytest.mark.slow
def test_it_refers_and_grounds_on_new_scenes(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", train=0, val=40, seed=2024)
    model, processor = load_model("shapes-base", device="cpu")
    metrics = evaluate(
        model,
        processor,
        list(read_records(tmp_path / "shapes" / "val.json")),
        out_dir=tmp_path / "evaluation",
        image_folder=tmp_path / "shapes" / "images",
        batch_size=32,
        max_new_tokens=96,
    )
    assert metrics["referring_accuracy"] >= 0.92
    assert metrics["presence_accuracy"] >= 0.9
    assert metrics["grounding_acc_50"] >= 0.78
    assert metrics["parse_failure_rate"] <= 0.02
