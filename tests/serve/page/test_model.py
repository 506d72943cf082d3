"""The packaged model behind the page, in the real server: draw, ask, see the boxes it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.serve.page.conftest import WINDOW, Visit
from tests.serve.page.scripted import Script
from tests.serve.running import Running, running

from mustela.infer import Predictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real_server() -> Iterator[Running]:
    with running(Predictor.from_pretrained("shapes-base", device="cpu"), keys=["the key"]) as server:
        yield server


@pytest.fixture
def visit(browser: Any, real_server: Running) -> Iterator[Visit]:
    """A visit to the real page, with its key; nothing may be refused by its policy, or raised."""
    faults: list[str] = []
    page = browser.new_page(viewport=WINDOW)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(real_server.address)
    page.fill("#key", "the key")
    page.press("#key", "Enter")
    page.wait_for_selector('.model[data-state="ready"]')
    yield Visit(page, Script())
    page.close()
    # Chromium itself tells of the refusal that asked for the key.
    assert [fault for fault in faults if "status of 401" not in fault] == []


def ask(visit: Visit, text: str | None = None) -> None:
    if text is not None:
        visit.page.focus("#question")
        visit.page.keyboard.type(text)
    visit.page.press("#question", "Enter")
    visit.page.wait_for_selector(f".round:nth-child({visit.rounds}) .said:not(.waiting)")
    visit.page.wait_for_selector("#stop", state="hidden")


def start(visit: Visit, example: int) -> None:
    visit.page.locator(".example").nth(example).click()
    visit.page.wait_for_selector("#canvas:not([hidden])")


def test_it_names_what_is_drawn_and_finds_what_is_there(visit: Visit) -> None:
    start(visit, 1)
    visit.page.fill("#question", "What is ")
    visit.drag((14, 75), (86, 146))
    ask(visit, "?")
    assert visit.page.inner_text(".said .text") == "a green circle."
    visit.page.click("#new-conversation")
    ask(visit, "Find and name all the objects.")
    # A model of this size may name a thing twice; the boxes have to be right.
    assert set(visit.labels()) == {"a green circle", "an orange square"}
    boxes = visit.page.eval_on_selector_all(
        ".said button.mark",
        "all => all.map(e => [e.ariaLabel.split(':')[0], e.title.match(/\\d+/g).map(Number)])",
    )
    for words, (width, height, left, top) in boxes:
        x1, y1, x2, y2 = {"an orange square": (191, 37, 246, 92), "a green circle": (14, 75, 86, 146)}[words]
        assert (left, top, left + width, top + height) == pytest.approx((x1, y1, x2, y2), abs=18)


@pytest.mark.parametrize(
    ("example", "expected"), [(0, "a yellow triangle."), (2, "a yellow circle."), (3, "Yes.")]
)
def test_the_examples_are_answered_well(visit: Visit, example: int, expected: str) -> None:
    start(visit, example)
    visit.page.wait_for_selector("#regions li")
    ask(visit)
    assert visit.page.inner_text(".said .text") == expected
