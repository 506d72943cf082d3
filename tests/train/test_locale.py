"""Training and evaluation where the system doesn't speak Unicode."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from mustela.data import read_records
from mustela.evaluate.predictions import read_predictions

PICTURE = "数据/图 片é.jpg"
ANSWER = "里的羊 <bbox_location0>"


@pytest.mark.slow
def test_one_step_and_its_predictions(scratch, tmp_path):
    (tmp_path / PICTURE).parent.mkdir()
    Image.new("RGB", (64, 48), "red").save(tmp_path / PICTURE)
    record = {
        "id": "羊1",
        "image": "数据/图 片é.jpg",
        "image_w": 64,
        "image_h": 48,
        "conversations": [
            {"from": "human", "value": "<image>\n找到<bbox_location0>里的羊"},
            {"from": "gpt", "value": ANSWER},
        ],
        "box_x1y1x2y2": [[[4, 4, 30, 30]], [[8, 8, 20, 20]]],
    }
    data = tmp_path / "数据" / "données.json"
    data.write_text(json.dumps([record], ensure_ascii=False), encoding="utf-8")
    places = {"data_path": [str(data)], "image_folder": [str(tmp_path)]}
    recipe = {**scratch, **places, "max_steps": 1, "per_device_train_batch_size": 1}
    run, asked = tmp_path / "结果" / "é", tmp_path / "réponses"
    recipe |= {"output_dir": str(run)}
    file = tmp_path / "recipé.yaml"
    file.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    for line in (
        ["train", str(file)],
        ["evaluate", str(run), "--data", str(data), "--image_folder", str(tmp_path), "--out", str(asked)],
    ):
        command = [sys.executable, "-m", "mustela", *line]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "UnicodeEncodeError" not in done.stderr
    assert yaml.safe_load((run / "config.yaml").read_text("utf-8"))["data_path"] == [str(data)]
    assert json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[0])["step"] == 1
    (found,) = read_predictions(asked / "predictions.jsonl").values()
    (expected,) = read_records(data)
    assert found.picture == expected.images[0].path
    assert "里的羊" in found.question
    assert found.reference.startswith("里的羊")
