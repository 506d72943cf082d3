"""Every kind of region by mouse, touch and keyboard arrives as what was drawn, and can be taken back."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from tests.serve.page.conftest import XY, Visit, Visits, png

from mustela.regions import Box, Point, Polygon, Region, Scribble, region_from_json

pytestmark = pytest.mark.slow

SQUARE: tuple[XY, ...] = ((100, 60), (180, 60), (180, 140), (100, 140))


def asked_about(visit: Visit) -> Region:
    (region,) = visit.ask()["regions"]
    return region_from_json(region)


def close(found: Any, expected: tuple[float, ...], tolerance: float = 1.0) -> bool:
    return found == pytest.approx(expected, abs=tolerance)


def test_point_by_mouse(visit: Visit) -> None:
    visit.choose("point")
    visit.click((120, 80))
    point = asked_about(visit)
    assert isinstance(point, Point)
    assert close((point.x, point.y), (120, 80))


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_box_by_mouse_from_any_corner(visit: Visit, start: int) -> None:
    visit.drag(SQUARE[start], SQUARE[(start + 2) % 4])
    box = asked_about(visit)
    assert isinstance(box, Box)
    assert close(box.bounds_xyxy(), (100, 60, 180, 140))


def test_box_by_two_clicks(visit: Visit) -> None:
    visit.click((100, 60))
    visit.page.mouse.move(*visit.client((150, 100)))
    assert visit.page.is_visible("#give-up")
    visit.click((180, 140))
    assert close(asked_about(visit).bounds_xyxy(), (100, 60, 180, 140))


def test_scribble_by_mouse_keeps_its_bends_and_width(visit: Visit) -> None:
    visit.choose("scribble")
    visit.page.locator("#pen").fill("12")
    visit.drag((50, 50), (150, 50), (150, 150))
    scribble = asked_about(visit)
    assert isinstance(scribble, Scribble)
    assert scribble.width == 12
    assert len(scribble.points) <= 5
    for corner in ((50, 50), (150, 50), (150, 150)):
        assert min(abs(x - corner[0]) + abs(y - corner[1]) for x, y in scribble.points) < 3


@pytest.mark.parametrize("end", ["first corner", "double click", "button"])
def test_polygon_by_mouse(visit: Visit, end: str) -> None:
    visit.choose("polygon")
    for corner in SQUARE:
        visit.click(corner)
    if end == "first corner":
        visit.click(SQUARE[0])
    elif end == "double click":
        visit.click(SQUARE[-1])
    else:
        visit.page.click("#finish")
    polygon = asked_about(visit)
    assert isinstance(polygon, Polygon)
    (ring,) = polygon.rings
    assert [xy for corner in ring for xy in corner] == pytest.approx(
        [xy for corner in SQUARE for xy in corner], abs=1
    )


def test_keyboard_draws_every_kind(visit: Visit) -> None:
    canvas = visit.page.locator("#canvas")
    canvas.focus()
    keys = visit.page.keyboard

    def walk(key: str, pixels: int) -> None:
        for _ in range(pixels):
            keys.press(f"Shift+{key}")

    keys.press("p")
    keys.press("ArrowRight")  # shows the cursor in the middle of the picture
    keys.press("Enter")
    keys.press("b")
    keys.press("Enter")
    walk("ArrowRight", 12)
    walk("ArrowDown", 9)
    keys.press("Enter")
    keys.press("s")
    keys.press("Enter")
    walk("ArrowLeft", 10)
    keys.press("Enter")
    keys.press("g")
    keys.press("Enter")
    walk("ArrowUp", 20)
    keys.press("Enter")
    walk("ArrowRight", 20)
    keys.press("Enter")
    keys.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "canvas"
    regions = [region_from_json(region) for region in visit.ask()["regions"]]
    assert regions == [
        Point(200, 150),
        Box(200, 150, 212, 159),
        Scribble(((212, 159), (202, 159)), 5),
        Polygon((((202, 159), (202, 139), (222, 139)),)),
    ]


def test_keyboard_gives_up_and_takes_back(visit: Visit) -> None:
    visit.page.locator("#canvas").focus()
    keys = visit.page.keyboard
    for key in ("g", "ArrowRight", "Enter", "ArrowRight", "Enter", "ArrowDown", "Enter"):
        keys.press(key)
    assert visit.page.is_enabled("#finish")
    keys.press("Backspace")
    assert visit.page.is_disabled("#finish")
    keys.press("Escape")
    assert visit.page.is_hidden("#unfinished")
    assert visit.labels() == []


def test_touch_draws_and_two_fingers_zoom(visits: Visits) -> None:
    visit = visits(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 780}, device_scale_factor=2
    )
    visit.open(png(Image.new("RGB", (400, 300), "gray")))
    session = visit.page.context.new_cdp_session(visit.page)

    def touch(kind: str, *fingers: XY) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", visit.client((100, 60)))
    touch("touchMove", visit.client((150, 100)))
    touch("touchMove", visit.client((180, 140)))
    touch("touchEnd")
    assert visit.labels() == ["region 1"]
    # No keyboard comes up over the picture.
    assert visit.page.evaluate("document.activeElement.id") != "question"

    before = visit.client((400, 300))[0] - visit.client((0, 0))[0]
    touch("touchStart", visit.client((150, 150)))
    touch("touchMove", visit.client((160, 150)))
    x, y = visit.client((200, 150))
    touch("touchStart", (x - 30, y), (x + 30, y))
    touch("touchMove", (x - 60, y), (x + 60, y))
    touch("touchEnd", (x - 60, y))
    touch("touchMove", (x - 90, y + 10))
    touch("touchEnd")
    assert visit.client((400, 300))[0] - visit.client((0, 0))[0] == pytest.approx(2 * before, rel=0.1)
    assert visit.labels() == ["region 1"], "two fingers draw nothing"
    # What was under the fingers' middle still is.
    assert visit.client((200, 150)) == pytest.approx((x, y), abs=3)

    visit.page.locator('[data-tool="point"][role="radio"]').tap()
    visit.page.touchscreen.tap(*visit.client((210, 160)))
    box, point = (region_from_json(region) for region in visit.ask()["regions"])
    assert isinstance(point, Point)
    assert close(box.bounds_xyxy(), (100, 60, 180, 140), 1.5)
    assert close((point.x, point.y), (210, 160), 1.5)


def test_regions_are_named_in_the_question(visit: Visit) -> None:
    visit.page.fill("#question", "Is ")
    visit.drag((10, 10), (60, 60))
    visit.page.keyboard.type(" left of")
    visit.drag((100, 10), (160, 60))
    visit.page.keyboard.type("?")
    assert visit.page.input_value("#question").replace("\u00a0", " ") == "Is [region 1] left of [region 2]?"
    assert visit.labels() == ["region 1", "region 2"]
    request = visit.ask()
    assert request["messages"][-1]["content"][1]["text"] == "Is <region> left of <region>?"
    # Named again from the list, and by hand.
    visit.page.click("#regions .name >> nth=1")
    request = visit.ask(" and <region1> and [region 2]?")
    assert request["messages"][-1]["content"] == "<region> and <region> and <region>?"
    assert request["regions"][2:] == [request["regions"][at] for at in (1, 0, 1)]


@pytest.mark.parametrize("text", ["What is [region 3]?", "<region2>", "<region> <region>"])
def test_a_region_that_is_not_there_is_not_asked(visit: Visit, text: str) -> None:
    visit.drag((10, 10), (60, 60))
    visit.page.fill("#question", text)
    visit.page.press("#question", "Enter")
    assert visit.fault.startswith("There is no region")
    assert visit.script.requests == []


def test_backspace_takes_a_name_as_a_whole(visit: Visit) -> None:
    visit.drag((10, 10), (60, 60))
    visit.page.press("#question", "Backspace")
    assert visit.page.input_value("#question") == ""
    visit.page.press("#question", "Control+z")
    assert visit.page.input_value("#question") == "[region\u00a01]"


def test_undo_and_redo(visit: Visit) -> None:
    visit.drag((10, 10), (60, 60))
    visit.drag((100, 10), (160, 60))
    # The drawing came last, so it is what Control Z in the question takes back.
    visit.page.press("#question", "Control+z")
    assert visit.labels() == ["region 1"]
    assert visit.page.input_value("#question") == "[region\u00a01]"
    visit.page.keyboard.type(" red")
    visit.page.press("#question", "Control+z")
    assert visit.labels() == ["region 1"], "the typing came last"
    visit.page.click("#undo")
    assert visit.labels() == []
    assert visit.page.is_disabled("#undo")
    visit.page.click("#redo")
    visit.page.click("#redo")
    assert visit.labels() == ["region 1", "region 2"]
    assert visit.page.is_disabled("#redo")


def test_a_region_is_moved_reshaped_and_deleted(visit: Visit) -> None:
    visit.drag((100, 60), (180, 140))
    visit.choose("move")
    visit.drag((140, 100), (160, 110))
    visit.drag((200, 150), (220, 170))  # its lower right corner
    box = asked_about(visit)
    assert close(box.bounds_xyxy(), (120, 70, 220, 170))
    visit.click((170, 120))
    visit.page.locator("#canvas").focus()
    visit.page.keyboard.press("Shift+ArrowLeft")
    visit.page.click("#regions .name")
    (_, moved) = visit.ask()["regions"]
    assert close(
        region_from_json(moved).bounds_xyxy(),
        tuple(v - (i % 2 == 0) for i, v in enumerate(box.bounds_xyxy())),
        0.05,
    )
    visit.page.locator("#canvas").focus()
    visit.page.keyboard.press("Delete")
    assert visit.page.locator("#regions li").count() == 0


def test_a_region_stays_in_the_picture_when_it_is_moved(visit: Visit) -> None:
    visit.drag((100, 60), (180, 140))
    visit.choose("move")
    visit.drag((140, 100), (-300, 130))
    assert close(asked_about(visit).bounds_xyxy(), (0, 90, 80, 170))


def test_drawing_beyond_the_border_ends_at_it(visit: Visit) -> None:
    visit.drag((300, 200), (520, 400))
    x1, y1, x2, y2 = asked_about(visit).bounds_xyxy()
    assert close((x1, y1), (300, 200))
    assert (x2, y2) == (400, 300)


def test_coordinates_as_numbers(visit: Visit) -> None:
    visit.drag((100, 60), (180, 140))
    visit.page.click("#strip-region-1-numbers")
    numbers = visit.page.locator("#strip-region-1-input")
    numbers.fill("10, 20, 30")
    numbers.press("Enter")
    assert numbers.get_attribute("aria-invalid") == "true"
    numbers.fill("10.5 20 999 40")
    numbers.press("Enter")
    assert asked_about(visit) == Box(10.5, 20, 400, 40)


def test_a_region_moved_after_its_question_stays_in_the_history_as_it_was(visit: Visit) -> None:
    visit.drag((100, 60), (180, 140))
    visit.ask()
    visit.choose("move")
    visit.drag((140, 100), (240, 200))
    visit.page.click("#regions .name")
    first, second = (region_from_json(region) for region in visit.ask()["regions"])
    assert close(first.bounds_xyxy(), (100, 60, 180, 140))
    assert close(second.bounds_xyxy(), (200, 160, 280, 240))
    # The earlier round still shows what it was about.
    visit.page.locator(".round").first.hover()
    assert visit.labels() == ["region 1", "region 1"]
