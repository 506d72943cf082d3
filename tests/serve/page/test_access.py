"""The page by keyboard and for screen readers, at desktop and phone widths, in both themes."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from tests.serve.page.conftest import Visit, Visits, png

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")

pytestmark = pytest.mark.slow

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 780}}


def violations(visit: Visit) -> list[str]:
    visit.page.wait_for_timeout(250)
    found = axe.Axe().run(visit.page).response["violations"]
    return [f"{item['id']}: {[node['target'] for node in item['nodes']]}" for item in found]


def with_answer(visit: Visit) -> None:
    visit.open(png(Image.new("RGB", (400, 300), "gray")))
    visit.page.focus("#canvas")
    for key in ("p", "ArrowRight", "Enter"):
        visit.page.keyboard.press(key)
    visit.script.says("a red star [1, 2, 3, 4].", ("[1, 2, 3, 4]", [4.0, 3.0, 24.0, 18.0]))
    visit.ask(" is what?")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_nothing_that_axe_finds(visits: Visits, size: str, scheme: str) -> None:
    # Bypassing the policy lets axe itself into the page.
    visit = visits(viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)
    visit.page.wait_for_selector(".example")
    assert violations(visit) == []
    with_answer(visit)
    assert violations(visit) == []
    for button in ("#copy-code", "#save-record", "#help"):
        visit.page.click(button)
        assert violations(visit) == []
        visit.page.keyboard.press("Escape")
    visit.page.click(".said .foot button:has-text('Correct')")
    assert violations(visit) == []


@pytest.mark.parametrize("size", SIZES)
def test_nothing_sticks_out_sideways(visits: Visits, size: str) -> None:
    visit = visits(viewport=SIZES[size])
    visit.page.wait_for_selector(".example")

    def overhang() -> list[str]:
        found: list[str] = visit.page.evaluate(
            """() => [...document.querySelectorAll('body, body *')]
              .filter((e) => e.checkVisibility() && !e.closest('.strip, .code, .canvas, .hidden, svg'))
              .filter((e) => e.offsetWidth > 1 && e.getBoundingClientRect().right > innerWidth + 0.5)
              .map((e) => e.outerHTML.slice(0, 60))"""
        )
        return found

    assert overhang() == []
    with_answer(visit)
    assert overhang() == []
    visit.page.click('[data-tool="scribble"][role="radio"]')
    assert overhang() == []
    for button in ("#copy-code", "#save-record", "#help"):
        visit.page.click(button)
        assert overhang() == []
        visit.page.keyboard.press("Escape")


def focused(visit: Visit) -> str:
    name: str = visit.page.evaluate(
        "() => { const e = document.activeElement; return e.id || e.dataset.tool || e.className; }"
    )
    return name


def test_the_focus_goes_in_the_order_of_the_page(visit: Visit) -> None:
    with_answer(visit)
    visit.page.focus(".skip")
    order: list[str] = []
    while "send" not in order:
        order.append(focused(visit))
        visit.page.keyboard.press("Tab")
        assert len(order) < 60
    expected = [
        "skip", "new-conversation", "copy-code", "save-record", "theme", "help",
        "point", "undo", "zoom-out", "zoom-fit", "zoom-in", "other-picture",
        "canvas", "strip-region-1", "strip-region-1-numbers", "strip-region-1-delete",
    ]  # fmt: skip
    assert order[: len(expected)] == expected
    assert order[-2:] == ["question", "send"]
    assert order[-5].startswith("mark")
    assert order[-4:-2] == ["quiet small"] * 2


def test_tools_are_chosen_by_arrows(visit: Visit) -> None:
    visit.page.focus('[data-tool="box"][role="radio"]')
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.get_attribute('[data-tool="scribble"][role="radio"]', "aria-checked") == "true"
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("ArrowLeft")
    assert focused(visit) == "point"
    assert visit.page.get_attribute("#canvas", "data-tool") == "point"


def test_what_happens_is_said(visit: Visit) -> None:
    visit.page.focus("#canvas")
    said: list[Any] = []
    for key in (
        "b",
        "ArrowRight",
        "Enter",
        "Shift+ArrowRight",
        "Shift+ArrowDown",
        "Enter",
        "n",
        "Shift+ArrowUp",
    ):
        visit.page.keyboard.press(key)
        said.append(visit.page.inner_text("#status"))
    assert said[1] == "x 200, y 150"
    assert said[2] == "box begun"
    assert said[5] == "region 1 added: box, 1 × 1 pixels at 200, 150"
    assert said[6] == "region 1: box, 1 × 1 pixels at 200, 150"
    assert said[7] == "region 1: box, 1 × 1 pixels at 200, 149"


def test_single_letters_stay_letters_in_the_question(visit: Visit) -> None:
    visit.page.focus("#question")
    visit.page.keyboard.type("vpsg+-0")
    assert visit.page.input_value("#question") == "vpsg+-0"
    assert visit.page.get_attribute("#canvas", "data-tool") == "box"
