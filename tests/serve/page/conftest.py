"""A browser, the scripted server, and a visitor who draws and asks."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.serve.page.scripted import Script, ScriptedServer, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WINDOW = {"width": 1200, "height": 800}
XY: TypeAlias = tuple[float, float]
Visits: TypeAlias = "Callable[..., Visit]"


@dataclass
class Visit:
    """A page in the browser; positions are pixels of the picture unless they say otherwise."""

    page: Any
    script: Script

    def open(self, data: bytes, name: str = "scene.png") -> None:
        """Choose a picture as a file."""
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})
        self.page.wait_for_selector("#loading", state="hidden")

    def client(self, xy: XY) -> XY:
        """Return where on the screen, in CSS pixels, a place of the picture is seen."""
        rect, size = self.page.evaluate(
            """() => { const i = document.querySelector('#picture'), r = i.getBoundingClientRect();
                return [[r.left, r.top, r.width, r.height], [i.naturalWidth, i.naturalHeight]]; }"""
        )
        return rect[0] + xy[0] * rect[2] / size[0], rect[1] + xy[1] * rect[3] / size[1]

    def choose(self, tool: str) -> None:
        self.page.click(f'[data-tool="{tool}"][role="radio"]')

    def click(self, xy: XY) -> None:
        self.page.mouse.click(*self.client(xy))

    def drag(self, *path: XY) -> None:
        mouse = self.page.mouse
        mouse.move(*self.client(path[0]))
        mouse.down()
        for xy in path[1:]:
            mouse.move(*self.client(xy), steps=4)
        mouse.up()

    def ask(self, text: str | None = None) -> dict[str, Any]:
        """Add words to the question, ask it, wait for the answer, and return what was sent."""
        asked = len(self.script.requests)
        if text is not None:
            self.page.focus("#question")
            self.page.keyboard.type(text)
        self.page.press("#question", "Enter")
        self.page.wait_for_selector(f".round:nth-child({self.rounds}) .said:not(.waiting)")
        assert len(self.script.requests) == asked + 1
        return self.script.requests[-1]

    @property
    def rounds(self) -> int:
        count: int = self.page.locator(".round").count()
        return count

    @property
    def fault(self) -> str:
        text: str = self.page.inner_text("#question-fault")
        return text

    def labels(self) -> list[str]:
        """Return the labels on the picture."""
        texts: list[str] = self.page.eval_on_selector_all(
            "#overlay .tag text", "all => all.map(t => t.textContent)"
        )
        return sorted(texts)

    def pixels(self) -> npt.NDArray[np.int16]:
        """Return what is seen, `(H, W, 3)` in pixels of the screen."""
        self.page.wait_for_timeout(160)  # colours fade in
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(np.int16)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    # Not for longer than a module: while it runs, no other test could run an event loop of its own.
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with serving() as server:
        yield server


@pytest.fixture
def script(server: ScriptedServer) -> Iterator[Script]:
    server.script = Script()
    yield server.script
    server.script.hold.set()


@pytest.fixture(scope="module")
def shared_context(browser: Any) -> Any:
    """The context of visits without options of their own; it keeps the page's files from one to the next."""
    return browser.new_context(viewport=WINDOW)


@pytest.fixture
def visits(browser: Any, shared_context: Any, server: ScriptedServer, script: Script) -> Iterator[Visits]:
    """Return a function that visits the page; arguments go to Playwright's contexts.

    Afterwards, nothing may have been loaded from elsewhere, refused by the page's policy, or raised.
    """
    opened: list[Any] = []
    faults: list[str] = []
    addresses: list[str] = []

    def visit(**options: Any) -> Visit:
        context = browser.new_context(**{"viewport": WINDOW, **options}) if options else shared_context
        context.set_default_timeout(15000)
        page = context.new_page()
        opened.append(context if options else page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(server.address)
        page.wait_for_selector(".model[data-state]")
        return Visit(page, script)

    yield visit
    for each in opened:
        each.close()
    elsewhere = [url for url in addresses if not url.startswith(("http://127.0.0.1:", "blob:", "data:"))]
    assert elsewhere == []
    # Chromium itself tells of every status that isn't 200, which some tests are about.
    assert [fault for fault in faults if "the server responded with a status" not in fault] == []


@pytest.fixture
def visit(visits: Visits) -> Visit:
    """A visit with a grey picture of 400 x 300 pixels open."""
    visit = visits()
    visit.open(png(Image.new("RGB", (400, 300), (128, 128, 128))))
    return visit


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def near(
    pixels: npt.NDArray[np.int16], colour: tuple[int, int, int], tolerance: int = 40
) -> tuple[int, int, int, int]:
    """Return the box round the pixels of about a colour, `x1, y1, x2, y2` in pixels of the screen."""
    rows, columns = np.nonzero(np.abs(pixels - np.array(colour)).max(axis=2) <= tolerance)
    assert rows.size, f"nothing of about {colour} is seen"
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
