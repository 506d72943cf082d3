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
    assert lines[0].pop("asked").keys() == {"question", "model", "max_new_tokens"}
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
        ('{"question": "What is \\ud83d?"}', "line 2: question is not valid text: character 9"),
        ('{"question": "What?", "id": "\\ud83d"}', "line 2: id is not valid text"),
        ("[" * 100_000, "line 2: "),
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
        (["shapes-base", "--batch", "q.jsonl", "--batch_size", "0"], "--batch_size is 0"),
        (["shapes-base", "--batch", "missing.jsonl"], "--batch missing.jsonl: can't be read"),
    ],
)
def test_words_that_do_not_go_together(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", *words]) == 2
    assert message in capsys.readouterr().err


class Run:
    """`mustela ask --batch` with a tiny model, in a folder of its own."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.questions, self.out = folder / "q.jsonl", folder / "answers.jsonl"
        self._command = ["ask", str(model), "--batch", str(self.questions), "--device", "cpu"]

    def __call__(self, *lines: object, out: Path | None = None, tokens: int = 3) -> int:
        if lines:
            write(self.questions, *lines)
        options = ["--out", str(out or self.out), "--max_new_tokens", str(tokens)]
        return main([*self._command, *options])

    def answers(self) -> list[dict]:
        return [json.loads(line) for line in self.out.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def batch(tiny_model_folder: Path, tmp_path: Path) -> Run:
    return Run(tiny_model_folder, tmp_path)


def test_a_question_that_has_changed_is_asked_again(
    batch: Run, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"id": 1, "image": "images/a.png", "question": "What is <region>?", "regions": [BOX]}
    other = {"id": 2, "question": "Is it?"}
    assert batch(first, other) == 0
    moved = {**first, "regions": [{"type": "box", "xyxy": [1, 2, 30, 41]}]}
    Image.new("RGB", (64, 48)).save(images / "b.png")
    for changed in (moved, {**moved, "image": "images/b.png"}, {**moved, "question": "<region>?"}):
        capsys.readouterr()
        assert batch(changed, other) == 0
        assert "1 answers written" in capsys.readouterr().out
        assert [line["id"] for line in batch.answers()] == [2, 1]
        assert batch.answers()[1]["question"] == changed["question"]
    assert batch() == 0
    assert "0 answers written" in capsys.readouterr().out


def test_answers_of_other_settings_are_left_alone(batch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch({"question": "Is it?"}) == 0
    before = batch.out.read_bytes()
    assert batch(tokens=2) == 2
    assert "max_new_tokens 3 instead of 2" in capsys.readouterr().err
    asked = {**batch.answers()[0]["asked"], "model": "another"}
    write(batch.out, {**batch.answers()[0], "asked": asked}, "")
    assert batch() == 2
    assert "model another instead of" in capsys.readouterr().err
    batch.out.write_bytes(before)
    assert batch() == 0


@pytest.mark.parametrize("cut", [9, -3, -1])
def test_a_torn_last_line_is_asked_again_and_an_unfinished_file_completed(
    batch: Run, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [{"question": "Is it?"}, {"question": "Is \u2028 it \u4e2d?"}]
    write(batch.questions, *(json.dumps(question, ensure_ascii=False) for question in questions))
    batch.questions.write_bytes(b"\xef\xbb\xbf" + batch.questions.read_bytes())
    assert batch() == 0
    whole = batch.out.read_bytes()
    first, second, _ = whole.split(b"\n")
    batch.out.write_bytes(first + b"\n" + (second + b"\n")[:cut])
    capsys.readouterr()
    assert batch() == 0
    assert f"{0 if cut == -1 else 1} answers written" in capsys.readouterr().out
    assert batch.out.read_bytes() == whole


def test_only_answers_are_gone_on_with(batch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch({"id": 1, "question": "Is it?"}, out=batch.questions) == 2
    assert "is the file of the questions" in capsys.readouterr().err
    for held in ('{"id": 1, "question": "Is it?"}\n', "notes", '[1]\n{"id": '):
        batch.out.write_text(held)
        assert batch() == 2
        assert "something else than answers" in capsys.readouterr().err
        assert batch.out.read_text() == held
    assert batch(out=batch.out.parent) == 2
    assert "is no file" in capsys.readouterr().err


def test_a_question_that_the_model_refuses_spoils_no_other(batch: Run, images: Path) -> None:
    far = {"type": "scribble", "points": [[0.1, 0.2], [0.3, 0.4]]}
    lines = [
        {"id": "far", "image": "images/a.png", "question": "<region>?", "regions": [far]},
        {"id": "fine", "question": "Is it?"},
    ]
    assert batch(*lines) == 1
    found = {line["id"]: line for line in batch.answers()}
    assert "answer" in found["fine"]
    assert "0..1" in found["far"]["error"]
