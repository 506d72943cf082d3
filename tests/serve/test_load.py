"""A short version of `benchmarks/serve_load.py`: fifty clients, some of whom misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serve_load.py"


@pytest.mark.slow
def test_nothing_goes_wrong_under_load(tiny_model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    options = ["--model", str(tiny_model_folder), "--seconds", "9", "--out", str(out)]
    subprocess.run([sys.executable, str(SCRIPT), *options], check=True, capture_output=True)
    figures = json.loads(out.read_text())
    assert figures["errors"] == 0, figures
    assert figures["wrong_answers"] == 0
    assert figures["answers"] > 50
    assert figures["disturbances"] > 5
    # A step towards the three times of a longer run, and blind to what else the machine does.
    assert figures["times_per_cpu_second"] > 2
    warm, last = figures["memory_mb"]
    assert last < warm * 1.05 + 5
