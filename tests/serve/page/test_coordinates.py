"""What is drawn lands where it was seen, and an answer's box is seen where it belongs, by pixels."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image
from tests.serve.page.conftest import Visit, Visits, near, png

from mustela.regions import load_image

pytestmark = pytest.mark.slow

MARKER = (255, 0, 255)
BOX = (90, 40, 150, 100)
"""Where the marker is in the upright picture of 240 x 160 pixels."""
ANSWERED = (10, 132, 255)
"""The second colour of the palette; the first one is that of the region drawn."""


def upright() -> Image.Image:
    image = Image.new("RGB", (240, 160), (70, 80, 90))
    image.paste(MARKER, BOX)
    return image


def stored_turned(orientation: int, kind: str = "jpeg") -> bytes:
    """Return a file that shows the picture only to those who turn it by its EXIF orientation."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = upright()
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 95} if kind == "jpeg" else {}
    image.save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


def sent_picture(request: dict[str, Any]) -> Image.Image:
    url = request["messages"][0]["content"][0]["image_url"]["url"]
    return load_image(base64.b64decode(url.split(",")[1]))


def check_both_ways(visit: Visit, ratio: float, *, tolerance: float) -> None:
    """Draw a box round the marker where it is seen; then see the answer's box round it."""
    seen = [value / ratio for value in near(visit.pixels(), MARKER)]
    mouse = visit.page.mouse
    mouse.move(seen[0], seen[1])
    mouse.down()
    mouse.move(seen[2], seen[3], steps=3)
    mouse.up()
    request = visit.ask()
    (region,) = request["regions"]
    assert region["xyxy"] == pytest.approx(BOX, abs=tolerance)
    marked = sent_picture(request).crop(BOX).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(marked, tuple)
    assert max(abs(a - b) for a, b in zip(marked, MARKER, strict=True)) < 12, "the server sees another place"

    visit.page.click("#regions .icon >> nth=1")
    visit.script.says("a mark [1, 2, 3, 4].", ("[1, 2, 3, 4]", list(map(float, BOX))))
    visit.ask("Where is it?")
    visit.page.mouse.move(2, 2)
    pixels = visit.pixels()
    across = pixels[int((seen[1] + seen[3]) / 2 * ratio)]
    down = pixels[:, int((seen[0] + seen[2]) / 2 * ratio)]
    edges = [
        line_near(row, edge, ratio) for row, edge in zip((across, down, across, down), seen, strict=True)
    ]
    assert edges == pytest.approx([*visit.client(BOX[:2]), *visit.client(BOX[2:])], abs=0.75)
    # An enlarged edge is blurred over a pixel of the picture.
    pixel = visit.client((1, 0))[0] - visit.client((0, 0))[0]
    assert edges == pytest.approx(seen, abs=1 + pixel / 2)


def line_near(row: npt.NDArray[np.int16], edge: float, ratio: float) -> float:
    """Return the middle of the answer's line across a row of the screen, within 8 CSS pixels of an edge."""
    start = int((edge - 8) * ratio)
    (found,) = np.nonzero(np.abs(row[start : int((edge + 8) * ratio)] - np.array(ANSWERED)).max(axis=1) <= 40)
    assert found.size, f"no line is seen near {edge}"
    return (start + float(found.mean()) + 0.5) / ratio


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(visits: Visits, orientation: int) -> None:
    visit = visits()
    visit.open(stored_turned(orientation), "turned.jpg")
    assert visit.page.get_attribute("#canvas", "aria-label") == "Picture turned.jpg, 240 by 160 pixels"
    check_both_ways(visit, 1, tolerance=1)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_exif_orientation_that_browsers_see_differently(visits: Visits, kind: str) -> None:
    # Whether the browser turns such a file or not, what is seen is what is sent.
    visit = visits()
    visit.open(stored_turned(6, kind), f"turned.{kind}")
    left, top, right, bottom = near(visit.pixels(), MARKER)
    visit.drag((1, 1), (20, 20))
    sent = sent_picture(visit.ask())
    for x, y in ((left + 3, top + 3), (right - 3, bottom - 3)):
        corner = visit.client((0, 0))
        scale = (visit.client((1, 0))[0] - corner[0], visit.client((0, 1))[1] - corner[1])
        pixel = sent.getpixel((int((x - corner[0]) / scale[0]), int((y - corner[1]) / scale[1])))
        assert isinstance(pixel, tuple)
        assert pixel[0] > 200
        assert pixel[1] < 80


@pytest.mark.parametrize("ratio", [1.5, 2, 3])
def test_device_pixel_ratio(visits: Visits, ratio: float) -> None:
    visit = visits(device_scale_factor=ratio)
    visit.open(png(upright()))
    check_both_ways(visit, ratio, tolerance=1)


@pytest.mark.parametrize(("ratio", "turns", "pan"), [(1, -8, (0, 0)), (2, 2, (60, -40)), (1, 4, (-30, 25))])
def test_zoom_and_pan(visits: Visits, ratio: float, turns: int, pan: tuple[int, int]) -> None:
    visit = visits(device_scale_factor=ratio)
    visit.open(png(upright()))
    x, y = visit.client((120, 70))
    visit.page.mouse.move(x, y)
    for _ in range(abs(turns)):
        visit.page.mouse.wheel(0, -100 if turns > 0 else 100)
    visit.page.wait_for_timeout(100)
    assert visit.client((120, 70))[0] == pytest.approx(x, abs=1)
    visit.choose("move")
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + pan[0], y + pan[1], steps=3)
    visit.page.mouse.up()
    visit.choose("box")
    check_both_ways(visit, ratio, tolerance=1.5)


def test_zoom_of_the_page_itself(visits: Visits) -> None:
    # As with Ctrl and plus in a browser: larger CSS pixels in a smaller window.
    visit = visits(viewport={"width": 800, "height": 533}, device_scale_factor=1.5)
    visit.open(png(upright()))
    check_both_ways(visit, 1.5, tolerance=1)


def test_a_picture_larger_than_the_window(visits: Visits) -> None:
    visit = visits()
    visit.open(png(upright().resize((2400, 1600), Image.Resampling.NEAREST)))
    visit.drag((900, 400), (1500, 1000))
    (region,) = visit.ask()["regions"]
    assert region["xyxy"] == pytest.approx((900, 400, 1500, 1000), abs=3)


def test_keys_zoom_and_fit(visit: Visit) -> None:
    def width() -> float:
        return visit.client((400, 0))[0] - visit.client((0, 0))[0]

    fitted = width()
    visit.page.locator("#canvas").focus()
    visit.page.keyboard.press("+")
    assert width() == pytest.approx(1.25 * fitted)
    visit.page.keyboard.press("-")
    visit.page.keyboard.press("-")
    assert width() == pytest.approx(0.8 * fitted)
    visit.page.keyboard.press("0")
    assert width() == pytest.approx(fitted)
