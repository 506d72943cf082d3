"""`mustela data`: convert, check, view, tokens and stats as a user runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.data.formats.samples import FERRET, SAMPLES, picture, write

from mustela.cli.main import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A good file with its picture, and one with a fault."""
    picture(tmp_path / "a.jpg")
    bad = {**FERRET, "id": "bad", "box_x1y1x2y2": [[[40, 20, 10, 44]], []]}
    return write(tmp_path / "good.json", [FERRET]), write(tmp_path / "bad.json", [FERRET, bad])


def test_convert_says_what_it_reads_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = SAMPLES["voc"](tmp_path)
    out = tmp_path / "train.json"
    arguments = ["data", "convert", "--annotations", str(source), "--task", "refer", "--out", str(out)]
    assert main([*arguments, "--names", "dog=small dog"]) == 0
    said = capsys.readouterr().out
    assert "is read as Pascal VOC XML" in said
    assert "1 records written" in said
    (record,) = json.loads(out.read_text(encoding="utf-8"))
    assert record["conversations"][1]["value"] == "a small dog."


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--from", "pascal"], "data_format is 'pascal'"), (["--names", "dog"], "write NAME=VALUE"),
     (["--task", "talk"], "task is 'talk'"), (["--split", "test"], "no file test.txt")],
)  # fmt: skip
def test_convert_refuses(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SAMPLES["voc"](tmp_path)
    arguments = ["data", "convert", "--annotations", str(source), "--out", str(tmp_path / "x.json"), *more]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_check_exit_status_and_json(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = files
    assert main(["data", "check", str(good), "--workers", "1"]) == 0
    assert "Nothing to complain about." in capsys.readouterr().out
    report = good.parent / "report.json"
    assert main(["data", "check", str(bad), "--workers", "1", "--json", str(report)]) == 2
    assert "box.swapped" in capsys.readouterr().out
    assert json.loads(report.read_text(encoding="utf-8"))["skipped"] == 1
    both = ["data", "check", str(good), str(bad), "--workers", "1"]
    (good.parent / "bad.json").write_text(good.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(both) == 0
    assert "suspicious pictures.shared" in capsys.readouterr().out
    assert main([*both, "--strict"]) == 2


def test_check_lists_all_broken_lines_and_turns_in_one_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    human, gpt = {"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hi."}
    conversations = {
        "good-1": [human, gpt],
        "starts with gpt": [gpt, human, gpt],
        "good-2": [{"from": "system", "value": "Be short."}, human, gpt],
        "two questions": [human, human, gpt],
        "none": [],
        "empty": [human, {**gpt, "value": ""}],
        "null": [human, {**gpt, "value": None}],
        "good-3": [human, gpt, human, gpt],
    }
    lines = [json.dumps({"id": name, "conversations": turns}) for name, turns in conversations.items()]
    file = tmp_path / "train.json"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join([*lines, '{"id":"cut",']).encode() + b"\r\n")
    report = tmp_path / "report.json"
    assert main(["data", "check", str(file), "--workers", "1", "--json", str(report)]) == 2
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["read"], found["kept"]) == (9, 3)
    said = capsys.readouterr().out
    assert f"{file}:17: Expecting property name" in said
    for name, turn, reason in (
        ("starts with gpt", 0, "from gpt, expected human"),
        ("two questions", 1, "from human, expected gpt"),
        ("empty", 1, "is empty"),
        ("null", 1, "is None"),
    ):
        assert re.search(f'record "{name}", turn {turn},[^\n]*{reason}', said), said
    assert "conversations is empty" in said


def test_view_writes_one_page_that_needs_nothing_else(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, bad = files
    page = bad.parent / "page.html"
    assert main(["data", "view", str(bad), "--out", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert html.count("<article") == 2
    assert "box.swapped" in html
    assert 'data-r="0"' in html


@pytest.mark.slow
def test_tokens_and_token_lengths(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    good, _ = files
    page = good.parent / "sample.html"
    assert main(["data", "tokens", str(good), "--model", "shapes-base", "--out", str(page)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"a1: \d+ tokens, \d+ learnt, 1 regions", said)
    assert "<region 1>" in said
    assert "<circle" in page.read_text(encoding="utf-8")
    check = ["data", "check", str(good), "--model", "shapes-base", "--max_length", "8", "--workers", "1"]
    assert main([*check, "--strict"]) == 2
    assert "samples.too_long" in capsys.readouterr().out


def test_stats(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    good, _ = files
    page = good.parent / "stats.html"
    assert main(["data", "stats", str(good), "--workers", "1", "--out", str(page)]) == 0
    assert "a dog" in capsys.readouterr().out
    assert "Kinds of regions" in page.read_text(encoding="utf-8")


def test_stats_say_what_they_leave_out(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, bad = files
    assert main(["data", "stats", str(bad), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"{bad}: 1 of 2 records are left out. The first: " in said
    assert "--images DIR" not in said
    alone = tmp_path / "alone" / "train.json"
    alone.parent.mkdir()
    alone.write_bytes(files[0].read_bytes())
    assert main(["data", "stats", str(alone), "--workers", "1"]) == 2
    said = capsys.readouterr().out
    assert "1 of 1 records are left out. The first: " in said
    assert "say where they are with --images DIR" in said


def test_view_says_which_records_there_are(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, _ = files
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    for file, options, message in (
        (good, ["--start", "-5"], "--start -5: records are counted from 0"),
        (good, ["--start", "1"], "has 1 records, the last is 0"),
        (empty, [], "it holds no record"),
    ):
        assert main(["data", "view", str(file), "--out", str(tmp_path / "page.html"), *options]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert ("--start" in said) == bool(options)


@pytest.mark.parametrize("flag", ["--images", "--image_folder"])
def test_the_pictures_folder_goes_by_training_s_name_too(flag: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    picture(tmp_path / "pictures" / "a.jpg")
    file = write(tmp_path / "good.json", [FERRET])
    assert main(["data", "check", str(file), "--workers", "1"]) == 2
    assert main(["data", "check", str(file), "--workers", "1", flag, str(tmp_path / "pictures")]) == 0


def test_index_beyond_the_file(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "tokens", str(files[0]), "--model", "shapes-base", "--index", "5"]) == 2
    assert "no such record" in capsys.readouterr().err


def test_a_negative_index_is_refused(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "tokens", str(files[0]), "--model", "shapes-base", "--index", "-1"]) == 2
    assert "--index -1: records are counted from 0" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", " \n\n", "[]", "[\n]\n"])
def test_check_of_a_file_without_records_is_a_fault(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "train.json", tmp_path / "report.json"
    file.write_text(content, encoding="utf-8")
    assert main(["data", "check", str(file), "--workers", "1", "--json", str(report)]) == 2
    assert f"{file}: it holds no record." in capsys.readouterr().out
    assert "file.empty" in json.loads(report.read_text(encoding="utf-8"))["files"][0]["faults"]
