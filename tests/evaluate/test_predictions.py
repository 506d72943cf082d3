import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mustela.errors import RecordError
from mustela.evaluate.predictions import from_line, read_predictions, to_line, write_predictions
from mustela.regions import Box, Frame, Pad, Point

HARD_TEXT = '找到[1, 2, 3, 4]里的羊\u2028\n"</script>" é \udc80'


def test_a_line_gives_the_prediction_back(make_prediction) -> None:
    asked = make_prediction(
        text=HARD_TEXT, question_regions=(Box(1, 2, 3, 4), Point(5, 6)), image_wh=(640, 480)
    )
    assert from_line(to_line(asked), where="here") == asked
    assert "\n" not in to_line(asked)


def test_a_line_holds_bins_pixels_size_and_scale(make_prediction) -> None:
    raw = json.loads(to_line(make_prediction(text="[15, 41, 63, 126]")))
    assert raw["image_wh"] == [640, 480]
    assert raw["scale"] == "bins"
    assert raw["found"][0]["bins"] == pytest.approx([15, 41, 63, 126])
    assert raw["found"][0]["region"]["xyxy"] == pytest.approx([9.6, 19.68, 40.32, 60.48])


def test_pixels_of_the_fitted_picture_are_brought_back(make_prediction) -> None:
    pad = Pad((640, 480), (320, 320))  # halved, with 40 pixels above
    told = make_prediction(text="a dog [32, 100, 160, 280].", scale="pixels", frame=Frame.of(pad))
    assert from_line(to_line(told), where="here") == told
    assert told.boxes() == [((64.0, 120.0, 320.0, 480.0), "dog")]
    with pytest.raises(RecordError, match="not a prediction"):
        from_line(to_line(told).replace('"scale": [', '"scale": [1, '), where="here")


def test_coordinates_without_a_picture_size_are_an_error_and_not_a_score(make_prediction) -> None:
    with pytest.raises(RecordError, match="size of its picture is missing"):
        make_prediction(image_wh=None).boxes()
    assert "found" not in json.loads(to_line(make_prediction(image_wh=None)))


def test_a_torn_last_line_is_ignored_and_the_last_of_equal_ids_counts(
    make_prediction, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.jsonl"
    lines = [to_line(make_prediction(text=text)) for text in ("first", "second")]
    other = to_line(make_prediction(question_id="other"))
    path.write_text("\n".join([*lines, other[: len(other) // 2]]), encoding="utf-8")
    assert {name: item.text for name, item in read_predictions(path).items()} == {"q": "second"}


def test_a_malformed_line_in_the_middle_names_its_place(make_prediction, tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("{}\n" + to_line(make_prediction()) + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"predictions.jsonl, line 1: not a prediction \(KeyError"):
        read_predictions(path)
    line = to_line(make_prediction()).replace("grounding", "guessing")
    with pytest.raises(RecordError, match="unknown kind 'guessing'"):
        from_line(line, where="here")


@pytest.mark.slow
def test_texts_survive_a_machine_that_does_not_speak_unicode(make_prediction, tmp_path: Path) -> None:
    folder = tmp_path / "数据"
    folder.mkdir()
    path = folder / "预测é.jsonl"
    write_predictions(path, [make_prediction(text=HARD_TEXT, picture="图 片é.jpg")])
    program = (
        "import sys; from mustela.evaluate.predictions import read_predictions, write_predictions\n"
        "found = read_predictions(sys.argv[1]); print(found); write_predictions(sys.argv[1], found.values())"
    )
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii:backslashreplace",
    }
    subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment, check=True, capture_output=True
    )
    assert read_predictions(path)["q"].text == HARD_TEXT
    assert read_predictions(path)["q"].picture == "图 片é.jpg"
