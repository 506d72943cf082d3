"""Make the picture of the page from a running server.

mustela serve shapes-base &
python docs/images/make_page.py http://127.0.0.1:8000 docs/images/page.png
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from playwright.sync_api import sync_playwright


def ask(page: Any, text: str, *, answers: int) -> None:
    """Type and ask a question, and wait for its answer."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_selector(f".round:nth-child({answers}) .said.done", timeout=60_000)


def main(address: str, out: str) -> None:
    """Draw a box on the second example, ask about it, then about everything."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 720}, color_scheme="light")
        page.goto(address)
        page.locator(".example").nth(1).click()
        page.wait_for_selector("#canvas:not([hidden])")
        page.fill("#question", "What is ")
        picture = page.locator("#picture").bounding_box()
        left, top, scale = picture["x"], picture["y"], picture["width"] / 252
        page.mouse.move(left + 12 * scale, top + 72 * scale)
        page.mouse.down()
        page.mouse.move(left + 89 * scale, top + 149 * scale, steps=5)
        page.mouse.up()
        ask(page, "?", answers=1)
        ask(page, "Find and name all the objects.", answers=2)
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
