"""What is saved as a training record is what was said and corrected, and passes `mustela data check`."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.serve.page.conftest import Visit, Visits, png
from tests.serve.page.test_coordinates import stored_turned

from mustela.cli.main import main
from mustela.data import read_records
from mustela.regions import format_box, format_point

pytestmark = pytest.mark.slow

ANSWER = "a red star [10, 10, 60, 60] left of a ring [250, 333, 375, 666]."


def ask_two(visit: Visit) -> None:
    visit.script.says(
        ANSWER,
        ("[10, 10, 60, 60]", [4.0, 3.0, 24.0, 18.0]),
        ("[250, 333, 375, 666]", [100.0, 99.9, 150.0, 199.8]),
    )
    visit.ask("What is there?")


def saved(visit: Visit, button: str) -> bytes:
    visit.page.click("#save-record")
    with visit.page.expect_download() as download:
        visit.page.click(button)
    return Path(download.value.path()).read_bytes()


def unpacked(data: bytes, folder: Path) -> list[dict[str, Any]]:
    """Unpack what was saved and check it as a user does."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    lines = folder / "records.jsonl"
    assert (
        main(["data", "check", str(lines), "--images", str(folder / "images"), "--strict", "--workers", "1"])
        == 0
    )
    return [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]


def test_boxes_are_saved_in_ferrets_form(visit: Visit, tmp_path: Path) -> None:
    visit.drag((100, 60), (180, 140))
    visit.script.says("a cup.")
    visit.ask(" is what?")
    ask_two(visit)
    (record,) = unpacked(saved(visit, "#save-zip"), tmp_path)
    assert (record["image_w"], record["image_h"]) == (400, 300)
    assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert [turn["value"] for turn in record["conversations"]] == [
        "<image>\n<bbox_location0> is what?",
        "a cup.",
        "What is there?",
        "a red star <bbox_location0> left of a ring <bbox_location1>.",
    ]
    asked, *rest = record["box_x1y1x2y2"]
    assert asked[0] == pytest.approx([100, 60, 180, 140], abs=1)
    assert rest == [[], [], [[4, 3, 24, 18], [100, 99.9, 150, 199.8]]]


def test_other_kinds_are_saved_in_the_extended_form(visit: Visit, tmp_path: Path) -> None:
    visit.choose("point")
    visit.click((120, 80))
    visit.choose("scribble")
    visit.drag((50, 50), (150, 50), (150, 150))
    visit.choose("polygon")
    for corner in ((200, 60), (260, 60), (230, 140), (200, 60)):
        visit.click(corner)
    visit.script.says("there [5, 5].", ("[5, 5]", [20.0, 15.0]))
    visit.ask(" are what? <image> <bbox_location7>")
    (record,) = unpacked(saved(visit, "#save-zip"), tmp_path)
    assert [region["type"] for region in record["regions"][0]] == ["point", "scribble", "polygon"]
    assert record["regions"][1] == [{"type": "point", "xy": [20, 15]}]
    # Words that mean something in a record stay words.
    assert record["conversations"][0]["value"].endswith("are what? < image> <bbox location7>")


def test_a_corrected_answer_goes_into_the_record_and_the_history(visit: Visit, tmp_path: Path) -> None:
    ask_two(visit)
    visit.page.click(".said .foot button:has-text('Correct')")
    editor = visit.page.locator(".correcting textarea")
    assert editor.input_value().replace("\u00a0", " ") == "a red star [box 1] left of a ring [box 2]."
    assert visit.labels() == ["box 1", "box 2"]
    # Move one box, delete the other, draw a new one.
    visit.drag((10, 8), (30, 28))
    visit.page.click("#strip-box-2-delete")
    editor.press("End")
    editor.press("Backspace")
    editor.type(" and a cup")
    visit.choose("box")
    visit.drag((300, 100), (360, 200))
    editor.type(".")
    visit.page.click(".correcting button[type=submit]")
    visit.page.wait_for_selector(".note.good:has-text('corrected')")
    assert visit.labels() == ["a red star", "left of a ring and a cup"]
    (record,) = unpacked(saved(visit, "#save-zip"), tmp_path)
    assert record["conversations"][1]["value"] == (
        "a red star <bbox_location0> left of a ring and a cup <bbox_location1>."
    )
    star, cup = record["box_x1y1x2y2"][1]
    assert star == pytest.approx([24, 23, 44, 38], abs=1)
    assert cup == pytest.approx([300, 100, 360, 200], abs=1)
    # The next question is asked after the corrected answer, written as the model writes.
    history = visit.ask("And?")["messages"][1]["content"]
    boxes = [format_box(box, (400, 300)) for box in (star, cup)]
    assert history == f"a red star {boxes[0]} left of a ring and a cup {boxes[1]}."


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("[0.010, 0.010, 0.060, 0.060]", "[0.250, 0.500, 0.500, 0.750]"),
     ("<4><3><24><18>", "<100><150><200><225>"),
     ("[10, 10, 60, 60]", "[250, 500, 500, 750]"), ("[4, 3, 24, 18]", "[100, 150, 200, 225]"),
     ('{"bbox_2d": [10, 10, 60, 60]}', '{"bbox_2d": [250, 500, 500, 750]}'),
     ("(10, 10), (60, 60)", "(250, 500), (500, 750)")],
)  # fmt: skip
def test_new_boxes_are_written_as_the_model_writes_them(visit: Visit, raw: str, expected: str) -> None:
    written = visit.page.evaluate(
        "async ([raw, shape, added]) => { const { handwriting } = await import('/page/answer.js');"
        " return handwriting([{ raw, shape }], [400, 300])(added); }",
        [raw, {"type": "box", "xyxy": [4, 3, 24, 18]}, {"type": "box", "xyxy": [100, 150, 200, 225]}],
    )
    assert written == expected


def test_a_correction_is_given_up(visit: Visit) -> None:
    ask_two(visit)
    visit.page.click(".said .foot button:has-text('Correct')")
    visit.page.fill(".correcting textarea", "[box 7]")
    visit.page.click(".correcting button[type=submit]")
    assert "no box 7" in visit.page.inner_text(".correcting .fault")
    visit.page.press(".correcting textarea", "Escape")
    assert visit.page.locator(".correcting").count() == 0
    assert visit.labels() == ["a red star", "left of a ring"]
    assert visit.page.locator(".note.good").count() == 0


def test_records_of_several_pictures_are_collected(visit: Visit, tmp_path: Path) -> None:
    visit.ask("One?")
    visit.page.click("#save-record")
    visit.page.keyboard.press("Escape")
    visit.page.click("#new-conversation")
    visit.ask("Two, of the same picture?")
    visit.page.click("#save-record")
    visit.page.keyboard.press("Escape")
    visit.open(png(Image.new("RGB", (90, 60), "red")))
    visit.ask("Three, of another one with the same name?")
    visit.page.click("#save-record")
    assert "one of 3 records" in visit.page.inner_text("#record-lead")
    visit.page.keyboard.press("Escape")
    visit.ask("More")  # saving again replaces
    records = unpacked(saved(visit, "#save-zip"), tmp_path)
    assert [len(record["conversations"]) for record in records] == [2, 2, 4]
    assert len({record["image"] for record in records}) == 2
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert len({record["id"] for record in records}) == 3


def test_a_turned_photo_makes_a_good_record(visits: Visits, tmp_path: Path) -> None:
    visit = visits()
    visit.open(stored_turned(6), "photo.jpg")
    visit.drag((90, 40), (150, 100))
    visit.ask()
    unpacked(saved(visit, "#save-zip"), tmp_path)
    (record,) = read_records(tmp_path / "records.jsonl")
    (region,) = record.turns[0].regions
    assert region.region.bounds_xyxy() == pytest.approx((90, 40, 150, 100), abs=1)


def test_the_jsonl_alone_and_an_empty_box(visit: Visit) -> None:
    ask_two(visit)
    (record,) = map(json.loads, saved(visit, "#save-jsonl").decode().splitlines())
    assert len(record["box_x1y1x2y2"][1]) == 2
    visit.script.says("x [1, 1, 1, 1]", ("[1, 1, 1, 1]", [4.0, 3.0, 4.0, 3.0]))
    visit.ask("Where?")
    visit.page.click("#save-record")
    assert visit.page.inner_text("#toast") == "Answer 2 has a box without area. Correct it first."


def test_the_shapes_of_answers_are_boxes_and_points(visit: Visit) -> None:
    ask_two(visit)
    visit.page.click(".said .foot button:has-text('Correct')")
    assert visit.page.is_disabled('[data-tool="polygon"]')
    visit.choose("point")
    visit.click((200, 200))
    visit.page.click(".correcting button[type=submit]")
    visit.page.click("#save-record")
    point = json.loads(visit.page.inner_text("#record"))["regions"][1][2]
    visit.page.keyboard.press("Escape")
    content = visit.ask("And?")["messages"][1]["content"]
    assert content == f"{ANSWER} {format_point(point['xy'], (400, 300))}"
