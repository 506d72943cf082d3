"""Runs side by side: differences, what disagrees, and the page in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from tests.evaluate.benchmarks.conftest import coco, picture, write_json

from mustela.errors import ConfigError
from mustela.evaluate.benchmarks import find_benchmark, join, score_benchmark, write_scores
from mustela.evaluate.benchmarks.comparison import difference, disagreements, group_results, read_result
from mustela.evaluate.benchmarks.comparison_page import _figure, readable_figure, write_benchmark_comparison
from mustela.evaluate.benchmarks.items_file import write_items
from mustela.evaluate.benchmarks.joining import Said
from mustela.evaluate.matching import IOU_CONVENTION
from mustela.evaluate.predictions import write_predictions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COUNT = 24

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a finished evaluation of POPE-sized RefCOCO: `right` says which of the 24 questions are."""
    import pickle

    root = tmp_path / "root"
    names = [f"COCO_train2014_{number:012d}.jpg" for number in range(COUNT)]
    for name in names:
        picture(root / name)
    objects = [(n, n % 2, [10.0, 10.0, 20.0 + n, 35.0]) for n in range(COUNT)]
    write_json(root / "instances.json", coco(names, objects, ["dog", "cat"]))
    refs = [
        {
            "ref_id": n,
            "ann_id": n,
            "image_id": n,
            "category_id": n % 2,
            "split": "val",
            "sentences": [{"sent": f"thing <{n}>", "sent_id": n}],
        }
        for n in range(COUNT)
    ]
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs))
    benchmark = find_benchmark("refcoco")
    items = benchmark.items(root)

    def make(name: str, right: Callable[[int], bool], *, limit: int | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        asked = items[:limit]
        said = [
            Said(item.id, f"{list(item.boxes[0])}" if right(n) else "[90, 40, 95, 45]", "pixels", None)
            for n, item in enumerate(asked)
        ]
        joined = join(asked, said)
        write_items(folder / "questions.jsonl", asked)
        write_predictions(folder / "predictions.jsonl", [answer.prediction for answer in joined.answers])
        write_scores(folder, score_benchmark(benchmark, joined, split="val"))
        return folder

    return make


def test_differences_are_paired(make_run: MakeRun) -> None:
    first = read_result(make_run("first", lambda n: n < 6))
    better = read_result(make_run("better", lambda n: n < 20))
    other = read_result(make_run("other", lambda n: n >= COUNT - 6))
    found = difference(first, better, "acc_50")
    assert found.change == pytest.approx(14 / 24)
    assert found.significant
    assert found.paired is not None
    assert found.paired.p <= 0.001
    same = difference(first, other, "acc_50")
    assert same.change == 0
    assert not same.significant
    assert same.paired is not None
    assert same.paired.p > 0.5
    assert difference(first, first, "acc_50").paired.p == 1.0
    assert disagreements(better, first) == [item.id for item in first.items[6:20]]
    assert disagreements(first, better) == []
    assert len(group_results([first, better, other])) == 1


def test_other_questions_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    first, short = make_run("first", lambda n: True), make_run("short", lambda n: True, limit=12)
    with pytest.raises(ConfigError, match=r"did not ask the same questions of refcoco: 12 differ"):
        write_benchmark_comparison([first, short], out=tmp_path / "x.html")
    (short / "scores.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"it lacks scores.jsonl.*--compare DIR"):
        read_result(short)


def test_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run("first", lambda n: n < 6), make_run("better", lambda n: n < 20)]
    page = write_benchmark_comparison(folders, out=tmp_path / "compare.html", root=tmp_path / "root")
    html = page.read_text()
    assert "25.0%" in html
    assert "+58.3 ✱" in html
    assert "better right, first wrong (14)" in html
    assert "thing &lt;6&gt;" in html
    assert "By class" in html
    assert "By box size" in html
    assert escape(IOU_CONVENTION, quote=False) in html


def test_what_is_neither_better_nor_worse_has_no_colour(make_run: MakeRun) -> None:
    first = read_result(make_run("first", lambda n: n < 6))
    other = read_result(make_run("better", lambda n: n < 20))
    cell = _figure(first, other, "acc_50", 0)
    assert (cell.better, cell.significant) == ("up", True)

    def renamed(run, name: str, value: float | None = None):
        figure = run.metrics["figures"]["acc_50"]
        figure = {**figure, "value": figure["value"] if value is None else value}
        scores = {key: {"scores": {name: line["scores"]["acc_50"]}} for key, line in run.scores.items()}
        return replace(run, metrics={**run.metrics, "figures": {name: figure}}, scores=scores)

    cell = _figure(renamed(first, "yes_share"), renamed(other, "yes_share"), "yes_share", 0)
    assert (cell.change, cell.better, cell.significant) == ("+58.3", "", True)
    cell = _figure(renamed(first, "acc_50", 0.5), renamed(other, "acc_50", 0.5004), "acc_50", 0)
    assert (cell.change, cell.better) == ("+0.0", "")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_in_a_browser(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run("first", lambda n: n < 6 or n == 23), make_run("better", lambda n: n < 20)]
    page = write_benchmark_comparison(folders, out=tmp_path / "compare.html", root=tmp_path / "root")
    script = """<script>
      const shown = () => [...document.querySelectorAll(".pair:not([hidden]) .shot")].length;
      const before = shown();
      const select = document.querySelector("select.pairs");
      select.value = "1"; select.dispatchEvent(new Event("change"));
      const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      document.title = `SHOWN ${before} ${shown()} WIDE ${wide}`;
    </script>"""
    page.write_text(page.read_text().replace("</body>", script + "</body>"))
    for width in (390, 1280):
        done = subprocess.run(
            [
                str(CHROMIUM),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--window-size={width},900",
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found = re.search(r"<title>SHOWN (\d+) (\d+) WIDE (\w+)</title>", done.stdout)
        assert found is not None, done.stdout[:300]
        # One question is right in the first run alone; of the 14 others 12 are shown.
        assert found.groups() == ("1", "12", "false")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("acc_50", "Acc@0.5"),
        ("acc_75", "Acc@0.75"),
        ("acc_50_best", "Acc@0.5 best"),
        ("class_average_acc_50", "class average Acc@0.5"),
        ("mean_iou", "mean IoU"),
        ("merged_r_10", "merged R@10"),
        ("ar_100", "ar 100"),
        ("yes_share", "yes share"),
    ],
)
def test_figures_are_written_as_in_papers(name: str, written: str) -> None:
    assert readable_figure(name) == written
