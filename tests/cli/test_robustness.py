"""`mustela robustness` with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mustela.cli.main import main
from mustela.data.shapes import write_shapes


def test_it_prints_a_table(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shapes(tmp_path / "shapes", train=0, val=2)
    options = [
        "--data",
        str(tmp_path / "shapes" / "val.json"),
        "--image_folder",
        str(tmp_path / "shapes" / "images"),
    ]
    options += ["--out", str(tmp_path / "out"), "--limit", "1", "--max_new_tokens", "2", "--device", "cpu"]
    assert main(["robustness", str(tiny_model_folder), *options]) == 0
    printed = capsys.readouterr().out
    assert "1 questions, plainly asked" in printed
    assert "paraphrase" in printed
    assert json.loads((tmp_path / "out" / "robustness.json").read_text())["questions"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none.json"], "there is no such file"),
        (["--data", "DATA", "--limit", "0"], "--limit is 0"),
        (["--data", "DATA", "--paraphrase", "What is it?"], "needs exactly one <region>"),
    ],
)
def test_mistakes(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.json"
    data.write_text("[]")
    assert main(["robustness", "shapes-base", *[str(data) if o == "DATA" else o for o in options]]) == 2
    assert message in capsys.readouterr().err
