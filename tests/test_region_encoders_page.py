"""The comparison of region encoders: its table, and its answer to whether `geo` is better."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "region_encoders_page.py"
SETTINGS = {
    "max_steps": 8,
    "cells": False,
    "cell_steps": 4,
    "questions": None,
    "pictures": 60,
    "points": 128,
    "sub_points": "64 and 16",
    "seeds": 2,
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("region_encoders_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def runs(*accuracies, part="free-form"):
    return [{"shapes": {part: {"accuracy": each, "questions": 10}}} for each in accuracies]


@pytest.mark.parametrize(
    ("geo", "mean", "verdict"),
    [
        ((0.8, 0.9), (0.7, 0.6), "yes"),
        ((0.8, 0.9), (0.7, 1.0), "not clear"),
        ((0.8, 0.9), (0.8, 1.0), "no"),
    ],
)
def test_better_is_better_with_every_seed(script, geo, mean, verdict):
    (line,) = [
        line
        for line in script.answer({"geo": runs(*geo), "mean": runs(*mean)}).splitlines()
        if "| mean |" in line
    ]
    assert line.endswith(f"| {verdict} |")
    assert line.startswith("| free-form | 0.85 (0.80 to 0.90) | mean |")


def test_only_what_was_measured_is_compared(script):
    results = {"geo, no coordinates": runs(0.5), "mean, no coordinates": runs(0.4), "none": runs(0.3)}
    told = script.answer(results)
    assert "| free-form, no coordinates |" in told
    assert "| none |" not in told
    assert "Not measured" in script.answer({"roi": runs(0.5)})


def test_the_page_says_how_it_was_measured(script):
    results = {"geo": runs(0.5, 0.7), "none": runs(0.25, 0.3)}
    page = script.page(results, SETTINGS, command="python it", plot_file="it.svg")
    for words in ("8 steps of 8 pictures", "60 pictures", "2 seeds", "python it", "(it.svg)", "| geo | 0.60"):
        assert words in " ".join(page.split())
    assert "blood cells" not in page
    plot = script.plot(results)
    assert plot.count("<circle") == 4
    assert plot.count("<rect") == 3
