"""`mustela merge`, and commands that take an adapter where they take a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from mustela.cli.main import main
from mustela.model.adapter import Adapter
from mustela.model.loading import load_model
from mustela.model.lora import LoraSettings, attach_lora, choose_targets


@pytest.fixture
def adapter(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """An untrained adapter on a copy of the tiny model."""
    base = shutil.copytree(tiny_model_folder, tmp_path / "base")
    model, processor = load_model(base, device="cpu")
    settings = LoraSettings(4, 8, 0.0, dora=False, rslora=False, targets=choose_targets(model))
    attach_lora(model, settings)
    assert model.origin is not None
    model.adapter = Adapter(model.origin, settings, None, shapes={})
    model.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_merged_and_asked(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "scene.png"
    Image.new("RGB", (64, 48), "white").save(image)
    ask = [str(image), "What is <region>?", "--box", "1", "2", "30", "40", "--device", "cpu"]
    ask += ["--max_new_tokens", "4", "--out", str(tmp_path / "drawn.png")]
    assert main(["ask", str(adapter), *ask]) == 0
    said = capsys.readouterr().out
    moved = shutil.move(tmp_path / "base", tmp_path / "moved")
    assert main(["ask", str(adapter), *ask]) == 2
    assert "which isn't there. Say where it is with --base DIR" in capsys.readouterr().err
    assert main(["ask", str(adapter), *ask, "--base", str(moved)]) == 0
    assert capsys.readouterr().out == said
    merged = tmp_path / "merged"
    assert main(["merge", str(adapter), str(merged), "--base", str(moved), "--dtype", "float32"]) == 0
    assert capsys.readouterr().out == f"The model is in {merged}.\n"
    assert main(["ask", str(merged), *ask]) == 0
    assert capsys.readouterr().out == said
    assert main(["export", str(adapter), str(tmp_path / "exported"), "--base", str(moved)]) == 0
    capsys.readouterr()
    assert main(["ask", str(tmp_path / "exported"), *ask]) == 0
    assert capsys.readouterr().out == said
    assert main(["merge", str(adapter), str(merged), "--base", str(moved)]) == 2
    assert "isn't empty: give a new folder" in capsys.readouterr().err
