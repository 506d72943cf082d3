"""What the page copies as curl and as Python asks the same question when it is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.serve.page.conftest import Visit, Visits, png

pytestmark = pytest.mark.slow

NASTY = "Cost: $5 `ls` \\n \"quoted\" 'so' $(date) \u00e9\u4e00 ${HOME}"
NAME = "it's a picture.png"


def asked(visit: Visit) -> dict[str, Any]:
    """Ask something with letters that shells, JSON and Python could take amiss."""
    visit.drag((100, 60), (180, 140))
    visit.page.keyboard.type(f" {NASTY}")
    request = visit.ask()
    return {key: value for key, value in request.items() if key != "stream"}


@pytest.fixture
def snippet(visits: Visits, tmp_path: Path) -> tuple[Visit, dict[str, Any]]:
    visit = visits()
    visit.open(png(Image.new("RGB", (400, 300), "gray")), NAME)
    request = asked(visit)
    visit.page.click("#copy-code")
    with visit.page.expect_download() as download:
        visit.page.click("#save-picture")
    download.value.save_as(tmp_path / download.value.suggested_filename)
    return visit, request


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(snippet: tuple[Visit, dict[str, Any]], tmp_path: Path) -> None:
    visit, request = snippet
    visit.script.says("the answer")
    code = visit.page.text_content("#code")
    done = subprocess.run(
        ["sh", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert "the answer" in done.stdout
    assert visit.script.requests[-1] == request


def test_python(snippet: tuple[Visit, dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("openai")
    visit, request = snippet
    visit.script.says("a cup [1, 2, 3, 4]", ("[1, 2, 3, 4]", [1.0, 2.0, 3.0, 4.0]))
    visit.page.click('[data-language="python"]')
    code = visit.page.text_content("#code")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[0] == "a cup [1, 2, 3, 4]"
    assert "'box_xyxy': [1.0, 2.0, 3.0, 4.0]" in done.stdout
    assert visit.script.requests[-1] == request


def test_the_question_in_the_field_is_copied(visits: Visits) -> None:
    visit = visits(permissions=["clipboard-read", "clipboard-write"])
    visit.open(png(Image.new("RGB", (40, 30))))
    visit.script.says("first answer")
    visit.ask("First?")
    visit.page.fill("#question", "Not asked yet?")
    visit.page.click("#copy-code")
    visit.page.click("#copy")
    visit.page.wait_for_selector("#toast:has-text('Copied.')")
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied == visit.page.text_content("#code")
    assert copied.index("First?") < copied.index("first answer") < copied.index("Not asked yet?")


def test_copying_where_the_clipboard_is_closed(visits: Visits) -> None:
    visit = visits(permissions=["clipboard-read"])
    visit.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    visit.open(png(Image.new("RGB", (40, 30))))
    visit.ask("First?")
    visit.page.click("#copy-code")
    visit.page.click("#copy")
    visit.page.wait_for_selector("#toast:has-text('Copied.')")
    assert visit.page.evaluate("navigator.clipboard.readText()") == visit.page.text_content("#code")
