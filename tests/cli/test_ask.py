from pathlib import Path

import pytest
from PIL import Image

from mustela.cli.main import build_parser, main


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.new("RGB", (64, 48), "white").save(path)
    return path


def test_ask_prints_the_answer_and_writes_the_picture(
    tiny_model_folder: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = tmp_path / "mask.png"
    Image.new("L", (64, 48), 255).save(mask)
    out = tmp_path / "drawn.png"
    regions = [
        "--point",
        "5",
        "6",
        "--box",
        "1",
        "2",
        "30",
        "40",
        "--scribble",
        "1",
        "1",
        "9",
        "9",
        "30",
        "5",
    ]
    regions += ["--polygon", "1", "1", "30", "1", "30", "30", "--mask", str(mask)]
    question = "Are <region1> <region2> <region3> <region4> <region5> alike?"
    options = ["--device", "cpu", "--max_new_tokens", "4", "--out", str(out)]
    assert main(["ask", str(tiny_model_folder), str(image), question, *regions, *options]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"picture: {out}"
    with Image.open(out) as drawn:
        assert drawn.size[0] >= 64


def test_regions_keep_the_order_of_the_command_line() -> None:
    regions = ["--box", "1", "2", "3", "4", "--point", "5", "6", "--box", "7", "8", "9", "10"]
    args = build_parser().parse_args(["ask", "m", "i.png", "q", *regions])
    assert args.regions == [("box", [1, 2, 3, 4]), ("point", [5, 6]), ("box", [7, 8, 9, 10])]
    assert build_parser().parse_args(["ask", "m", "i.png", "q"]).regions == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--scribble", "1", "2", "3"], "--scribble 1 2 3: 3 numbers are not x y pairs"),
        (["--polygon", "1", "2", "3", "4"], "--polygon 1 2 3 4:"),
        (["--mask", "nowhere.png"], "nowhere.png"),
        (["--out", "nowhere/a.png"], "the folder nowhere does not exist"),
        (["--max_new_tokens", "0"], "--max_new_tokens is 0. It is at least 1"),
    ],
)
def test_wrong_regions_end_with_one_message(extra, message, image, capsys) -> None:
    assert main(["ask", "nowhere", str(image), "What is <region>?", *extra]) == 2
    assert message in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(image, capsys) -> None:
    assert main(["ask", "nowhere", str(image), "What is this?"]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("question", "message"), [(" ", "QUESTION is ' '. Write one."), ("What \udcff?", "character 6")]
)
def test_a_question_that_is_none(question, message, image, capsys) -> None:
    assert main(["ask", "nowhere", str(image), question]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "message"),
    [("foo", "--device foo: is no device. This machine has cpu"), ("meta", "--device meta: is not here"),
     ("cuda:99", "--device cuda:99: is not here")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["ask", "chat", "evaluate"])
def test_a_device_that_is_not_there(device, message, command, image, capsys) -> None:
    words = {
        "ask": ["ask", "shapes-base", str(image), "What?"],
        "chat": ["chat", "shapes-base", str(image)],
        "evaluate": ["evaluate", "shapes-base", "--data", "x.json"],
    }
    assert main([*words[command], "--device", device]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
