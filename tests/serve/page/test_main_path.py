"""The way of every visitor, in the fast suite; the other files go into all that may happen beside it."""

from __future__ import annotations

import pytest
from tests.serve.page.conftest import Visit


def test_draw_ask_and_see_the_box(visit: Visit) -> None:
    visit.page.fill("#question", "What is ")
    visit.drag((50, 60), (150, 160))
    visit.script.says("a red star [500, 500, 750, 750].", ("[500, 500, 750, 750]", [200, 150, 300, 225]))
    sent = visit.ask("?")
    assert sent["messages"][0]["content"][1]["text"] == "What is <region>?"
    (region,) = sent["regions"]
    assert region["type"] == "box"
    assert region["xyxy"] == pytest.approx([50, 60, 150, 160], abs=1)
    assert visit.page.inner_text(".said .text").split() == ["a", "red", "star", "."]
    assert "a red star" in visit.labels()
