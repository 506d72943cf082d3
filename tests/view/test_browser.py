"""The page of records in a real browser: filters leave what fits, a region lights up with its words."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mustela.data.check import Checked
from mustela.data.faults import Fault
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.regions import Box
from mustela.view.records import records_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def record(name: str, answer: str) -> Checked:
    region = RegionAnnotation(Box(1, 2, 30, 40))
    turns = (
        Turn("user", "<image>\nWhat is <bbox_location0>?", (region,)),
        Turn("assistant", answer),
    )
    return Checked(Record(name, (ImageRef("a.jpg", (64, 48)),), turns), ())


def shown_after(actions: str, folder: Path) -> tuple[str, str]:
    """Return the ids of the cards that are shown after some script, and what the script says."""
    fault = Fault("box.swapped", "error", "x", 3, "bad", 0, "box", "x2 < x1.", "")
    checked = [record("one", "a dog."), record("two", "a cat."), Checked(None, (fault,))]
    html = records_page(checked, title="x", folder=None, total=3)
    report = """
      const shown = [...document.querySelectorAll(".card")].filter((c) => !c.hidden);
      const ids = shown.map((c) => c.querySelector("h2").textContent);
      document.title = "SHOWN " + ids.join(",") + " SAID " + said;
    """
    page = folder / "page.html"
    start = 'let said = ""; const form = document.getElementById("filters");'
    script = f"<script>{start} {actions} {report}</script>"
    page.write_text(html.replace("</body>", script + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"<title>SHOWN (.*?) SAID (.*?)</title>", done.stdout)
    assert found is not None, done.stdout[:500]
    return found[1], found[2]


FILTER = "form.elements['{}'].value = '{}'; form.dispatchEvent(new Event('input'));"


@pytest.mark.parametrize(
    ("actions", "ids"),
    [
        ("", "one,two,bad"),
        (FILTER.format("text", "DOG"), "one"),
        (FILTER.format("class", "a cat"), "two"),
        (FILTER.format("fault", "box.swapped"), "bad"),
        (FILTER.format("fault", "-"), "one,two"),
        (FILTER.format("least", "1"), "one,two"),
    ],
)
def test_filters(actions: str, ids: str, tmp_path: Path) -> None:
    assert shown_after(actions, tmp_path)[0] == ids


def test_region_lights_up_with_its_mark(tmp_path: Path) -> None:
    actions = """
      document.querySelector(".mark").dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      const card = document.querySelector(".card");
      said = document.querySelectorAll(".on").length + " " + card.classList.contains("lit");
    """
    assert shown_after(actions, tmp_path)[1] == "2 true"
