"""The files on disk: the same bytes for the same arguments, valid, and never written over by accident."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mustela.cli.main import main
from mustela.data.check import CheckOptions, check_record
from mustela.data.shapes import load_world, write_shapes
from mustela.data.shapes.record import scene_of
from mustela.errors import ConfigError

FILES = {
    "train.json",
    "train_refer.json",
    "train_detect.json",
    "train_apart_short.json",
    "train_apart.json",
    "train_freeform.json",
    "val.json",
    "val_freeform.json",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes") / "set"
    write_shapes(out, train=20, val=8, seed=3)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_have_their_names_and_records(folder: Path) -> None:
    assert {path.name for path in folder.glob("*.json")} == FILES | {"shapes.json"}
    about = json.loads((folder / "shapes.json").read_text(encoding="utf-8"))
    for file in about["files"]:
        records = json.loads((folder / file["name"]).read_text(encoding="utf-8"))
        assert file["records"] == len(records)
        assert file["questions"] == sum(len(record["conversations"]) // 2 for record in records)
    assert {file["name"] for file in about["files"]} == FILES


def test_ids_are_unique(folder: Path) -> None:
    ids = [record["id"] for name in FILES for record in json.loads((folder / name).read_text("utf-8"))]
    assert len(ids) == len(set(ids))


def test_every_record_passes_the_check_with_its_picture(folder: Path) -> None:
    options = CheckOptions(images="decode")
    images = options.open_folder(str(folder / "images"))
    for name in sorted(FILES):
        for raw in json.loads((folder / name).read_text(encoding="utf-8")):
            checked = check_record(raw, options, folder=images, file=name)
            assert checked.faults == (), checked.faults
            assert checked.record is not None


def test_pictures_are_both_kinds_of_files_and_show_the_scene(folder: Path) -> None:
    kinds = set()
    for path in sorted((folder / "images").iterdir()):
        split, number = path.stem.split("_")
        scene = scene_of(load_world("first"), seed=3, split=split, index=int(number))
        with Image.open(path) as opened:
            kinds.add(opened.format)
            shown = np.asarray(opened.convert("RGB"), dtype=np.float64)
        assert np.abs(shown - np.asarray(scene.image)).mean() < (4.0 if path.suffix == ".jpg" else 1e-9)
    assert kinds == {"JPEG", "PNG"}


def test_two_processes_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "set", train=20, val=8, seed=3, workers=2)
    assert contents(tmp_path / "set") == contents(folder)


def test_a_larger_set_begins_with_the_smaller_one(folder: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "set", train=23, val=9, seed=3)
    larger, smaller = contents(tmp_path / "set"), contents(folder)
    for name, data in smaller.items():
        if name.startswith("images"):
            assert larger[name] == data
        elif name in FILES:
            assert larger[name].startswith(data.rstrip(b"]\n"))


def test_another_seed_and_another_world_give_other_pictures(folder: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "seed", train=1, val=0, seed=4)
    write_shapes(tmp_path / "world", train=1, val=0, seed=3, world="new")
    name = "images/train_000000.jpg"
    assert len({(path / name).read_bytes() for path in (folder, tmp_path / "seed", tmp_path / "world")}) == 3
    assert not (tmp_path / "seed" / "val.json").exists()


def test_a_set_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert write_shapes(out, train=2, val=1).fresh
    before = contents(out)
    again = write_shapes(out, train=2, val=1)
    assert not again.fresh
    assert {file.name for file in again.files} == FILES
    assert contents(out) == before


def test_an_interrupted_set_is_written_again(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write_shapes(out, train=2, val=1)
    complete = contents(out)
    about = json.loads((out / "shapes.json").read_text(encoding="utf-8"))
    (out / "shapes.json").write_text(json.dumps({**about, "files": []}), encoding="utf-8")
    (out / "train.json").write_text("[\n{", encoding="utf-8")
    assert write_shapes(out, train=2, val=1).fresh
    assert contents(out) == complete


def test_a_folder_with_something_else_is_refused_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"not empty.*--force"):
        write_shapes(tmp_path, train=1, val=1)
    write_shapes(tmp_path, train=1, val=1, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    with pytest.raises(ConfigError, match="not empty"):
        write_shapes(tmp_path, train=2, val=1)


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in ({"train": 0, "val": 0}, {"train": -1, "val": 3}, {"workers": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            write_shapes(tmp_path / "set", **{"train": 1, "val": 1, **wrong})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        write_shapes(tmp_path / "file", train=1, val=1)


def test_the_command_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "Formen é"
    arguments = ["data", "shapes", "--out", str(out), "--train", "2", "--val", "1", "--workers", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Wrote 3 pictures" in printed
    assert all(name in printed for name in FILES)
    assert "mustela train" in printed
    assert main(arguments) == 0
    assert "there already" in capsys.readouterr().out
    assert main([*arguments, "--seed", "1"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_the_command_survives_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    out = str(tmp_path / "Füchse")
    assert main(["data", "shapes", "--out", out, "--train", "1", "--val", "0", "--workers", "1"]) == 0
