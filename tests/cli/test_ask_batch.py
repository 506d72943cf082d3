import json
from pathlib import Path

import pytest
from PIL import Image

from mustela.cli.main import main
from mustela.infer import Predictor
from mustela.regions import Box

BOX = {"type": "box", "xyxy": [1, 2, 30, 40]}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(folder / "a.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def write(file: Path, *lines: object) -> Path:
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


def test_answers_go_into_a_file_and_a_second_run_asks_what_is_left(
    tiny_model_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = write(
        tmp_path / "q.jsonl",
        {"id": "one", "image": "a.png", "question": "What is <region>?", "regions": [BOX]},
        "",
        {"id": 2, "image": "broken.png", "question": "What is it?"},
        {"question": "Is it?"},
    )
    out = tmp_path / "answers.jsonl"
    command = ["ask", str(tiny_model_folder), "--batch", str(questions), "--image_folder", str(images)]
    command += ["--out", str(out), "--max_new_tokens", "4", "--batch_size", "2", "--device", "cpu"]
    assert main(command) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["one", 2, 4]
    assert "broken.png" in lines[1]["error"]
    predictor = Predictor.from_pretrained(tiny_model_folder, device="cpu")
    predictor.set_image(images / "a.png")
    expected = predictor.ask("What is <region>?", regions=[Box(1, 2, 30, 40)], max_new_tokens=4)
    assert lines[0] == {"id": "one", "question": "What is <region>?", "answer": expected.text, "regions": []}

    Image.new("RGB", (20, 20)).save(images / "broken.png")
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "2 answers written" in printed
    assert f"1 answers written to {out}, 2 were there" in printed
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in again] == ["one", 4, 2]
    assert all("answer" in line for line in again)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: Expecting property name"),
        ([1], "line 2: is no JSON object"),
        ({"image": "a.png"}, "line 2: question is None"),
        ({"question": "What?", "picture": "a.png"}, "unknown field 'picture'"),
        ({"question": "<region>?", "image": "a.png"}, "1 <region> placeholders but 0"),
        ({"question": "<region>?", "regions": [BOX]}, "regions but no image"),
        ({"question": "<region>?", "image": "a.png", "regions": [{"type": "x"}]}, "region type is 'x'"),
        ({"question": "What?", "id": 1}, "line 2: the id 1 comes twice"),
    ],
)
def test_a_bad_line_is_named_before_a_model_is_loaded(
    line: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "q.jsonl", {"question": "Is it?"}, line)
    assert main(["ask", "no-model", "--batch", str(file), "--out", str(tmp_path / "a.jsonl")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes-base"], "give an IMAGE and a QUESTION"),
        (["shapes-base", "a.png", "--batch", "q.jsonl"], "leave the others out"),
        (["shapes-base", "--batch", "q.jsonl", "--point", "1", "2"], "leave the others out"),
        (["shapes-base", "--batch", "q.jsonl", "--batch_size", "0"], "--batch_size 0"),
        (["shapes-base", "--batch", "missing.jsonl"], "--batch missing.jsonl: can't be read"),
    ],
)
def test_words_that_do_not_go_together(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", *words]) == 2
    assert message in capsys.readouterr().err
