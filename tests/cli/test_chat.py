import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from mustela.cli.chat import numbered
from mustela.cli.main import main
from mustela.cli.terminal_picture import picture_codes, picture_protocol
from mustela.errors import RegionError
from mustela.infer import Predictor
from mustela.regions import Box, Point


def test_a_conversation_from_a_pipe(
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, out = tmp_path / "scene.png", tmp_path / "chat.png"
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(image)
    lines = [
        "/box 1 2 30 40",
        "/point 5 6",
        "/box 500 600 700 800",
        "/circle 1 2 3",
        "What is #2 beside #1?",
        "And #7?",
        "Is it?",
        "/regions",
        "/new",
        "/regions",
        "/quit",
        "never read",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    options = ["--max_new_tokens", "4", "--device", "cpu", "--out", str(out)]
    assert main(["chat", str(tiny_model_folder), str(image), *options]) == 0
    printed = capsys.readouterr().out.splitlines()

    predictor = Predictor.from_pretrained(tiny_model_folder, device="cpu")
    predictor.set_image(image)
    regions = [Point(5, 6), Box(1, 2, 30, 40)]
    first = predictor.ask("What is <region> beside <region>?", regions=regions, max_new_tokens=4)
    second = predictor.ask("Is it?", history=[first.exchange], max_new_tokens=4)
    assert printed[:2] == ["#1: box", "#2: point"]
    assert printed[2] == "box covers no pixel of the image of 64 x 48 pixels."
    assert printed[3] == "/circle 1 2 3 is no command; /help lists them."
    said = printed[4:]
    assert said == [
        *first.text.splitlines(),
        f"picture: {out}",
        "there is no region #7: there are #1 to #2.",
        *second.text.splitlines(),
        "  #1 box: 1.0, 2.0, 30.0, 40.0",
        "  #2 point: 5.0, 6.0, 5.0, 6.0",
    ]
    with Image.open(out) as drawn:
        assert drawn.size[0] >= 64


def test_numbers_become_placeholders_and_typed_ones_stay_text() -> None:
    known = [Point(1, 2), Box(1, 2, 3, 4)]
    assert numbered("#2 or #1 or #2? <region>", known) == (
        "<region> or <region> or <region>? < region>",
        (known[1], known[0], known[1]),
    )
    for line in ("#0?", "#3?"):
        with pytest.raises(RegionError, match="there are #1 to #2"):
            numbered(line, known)
    with pytest.raises(RegionError, match="none yet"):
        numbered("#1?", [])


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, None),
        ({}, None),
    ],
)
def test_terminals_that_show_pictures(environ: dict[str, str], protocol: str | None) -> None:
    assert picture_protocol(environ, is_terminal=True) == protocol
    assert picture_protocol(environ, is_terminal=False) is None


@pytest.mark.parametrize("protocol", ["kitty", "iterm"])
def test_the_codes_hold_the_picture(protocol: str) -> None:
    codes = picture_codes(Image.effect_noise((1600, 900), 50).convert("RGB"), protocol)
    if protocol == "iterm":
        content = codes.removesuffix("\a").partition(":")[2]
    else:
        chunks = [part.partition(";") for part in codes.split("\033\\") if part]
        assert all(len(chunk) <= 4096 for _, _, chunk in chunks)
        assert [head[-1] for head, _, _ in chunks] == ["1"] * (len(chunks) - 1) + ["0"]
        content = "".join(chunk for _, _, chunk in chunks)
    with Image.open(io.BytesIO(base64.b64decode(content))) as shown:
        assert shown.size == (800, 450)


def test_a_line_of_another_encoding_does_not_end_the_conversation(
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = tmp_path / "scene.png"
    Image.new("RGB", (64, 48)).save(image)
    typed = io.TextIOWrapper(io.BytesIO(b"What is \xff?\n/box 1 2 3 4\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", typed)
    assert main(["chat", str(tiny_model_folder), str(image), "--device", "cpu"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "character 9" in first
    assert second == "#1: box"


def test_an_answer_has_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "nowhere", str(tmp_path / "a.png"), "--max_new_tokens", "0"]) == 2
    assert "--max_new_tokens is 0. It is at least 1." in capsys.readouterr().err
