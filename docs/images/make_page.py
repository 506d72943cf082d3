"""Make the picture of the page from a running server.

mustela serve shapes-base &
python docs/images/make_page.py http://127.0.0.1:8000 docs/images/page.png
"""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import sync_playwright


def main(address: str, out: str) -> None:
    """Ask for the circle in the second example, then draw a box and begin to ask about it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 720}, color_scheme="light")
        page.goto(address)
        page.locator(".example").nth(1).click()
        page.wait_for_selector("#canvas:not([hidden])")
        page.fill("#question", "Where is the green circle?")
        page.press("#question", "Enter")
        page.wait_for_selector(".said.done", timeout=60_000)
        page.fill("#question", "What is ")
        picture = page.locator("#picture").bounding_box()
        left, top, scale = picture["x"], picture["y"], picture["width"] / 252
        page.mouse.move(left + 186 * scale, top + 26 * scale)
        page.mouse.down()
        page.mouse.move(left + 249 * scale, top + 97 * scale, steps=5)
        page.mouse.up()
        page.keyboard.type("?")
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
