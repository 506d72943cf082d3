"""Record files for training: mixed, reported, and looked at once."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from mustela.config import DataArguments
from mustela.data.check import CheckOptions
from mustela.errors import ConfigError
from mustela.train.data import held_out_folder, held_out_records
from mustela.train.records import Files, open_files


def opened(paths, folders=(), *, multiples=(), on_bad_record="error") -> Files:
    return open_files(
        [str(path) for path in paths],
        [str(folder) for folder in folders],
        multiples=multiples,
        options=CheckOptions(),
        on_bad_record=on_bad_record,
        cache_dir=None,
        seed=0,
    )


def test_the_report_says_what_was_read_and_how_often_it_is_used(shapes, tmp_path):
    records = json.loads((shapes / "train_refer.json").read_text("utf-8"))
    records[1]["conversations"] = []
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(records), encoding="utf-8")
    files = opened(
        [shapes / "train.json", bad], [shapes / "images"], multiples=[2, 0.5], on_bad_record="skip"
    )
    whole, half = files.report["files"]
    assert whole["samples"] == 2 * whole["kept"]
    assert (half["skipped"], half["skipped_ids"]) == (1, [records[1]["id"]])
    assert half["samples"] == round(0.5 * half["kept"])
    assert (whole["multiple"], half["multiple"]) == (2, 0.5)
    assert whole["image_folder"] == str(shapes / "images")
    assert files.report["samples"] == len(files.source) == whole["samples"] + half["samples"]
    assert str(bad) in files.table
    json.dumps(files.report)


def test_handing_the_records_to_workers_copies_none(shapes):
    files = opened([shapes / "train.json"], [shapes / "images"])
    assert len(pickle.dumps(files.source)) < 2000
    again = pickle.loads(pickle.dumps(files.source))
    assert again[3] == files.source[3]


def test_a_second_start_checks_nothing_again(shapes, monkeypatch):
    first = opened([shapes / "train.json"], [shapes / "images"])
    monkeypatch.setattr("mustela.data.store.check_found", None)
    second = opened([shapes / "train.json"], [shapes / "images"])
    assert second.report == first.report
    assert list(map(second.source.__getitem__, range(3))) == list(map(first.source.__getitem__, range(3)))


def test_lists_of_other_lengths_are_an_error(shapes):
    with pytest.raises(ConfigError, match="image_folder has 3"):
        opened([shapes / "train.json"] * 2, [shapes / "images"] * 3)


def test_pictures_lie_beside_their_file_unless_said_otherwise(shapes, tmp_path):
    data = DataArguments(eval_data_path=[str(tmp_path / "val.json")])
    assert held_out_folder(data) == tmp_path
    assert held_out_folder(DataArguments(image_folder=["a", "a"], eval_data_path=["x"])) == Path("a")
    assert held_out_folder(DataArguments()) is None
    moved = shapes / "images" / "beside.json"
    moved.write_bytes((shapes / "train.json").read_bytes())
    try:
        assert opened([moved]).source[0][1] == shapes / "images"
    finally:
        moved.unlink()


def test_held_out_files_have_a_folder_each(shapes, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two" / "deep"]
    for folder in folders:
        shutil.copytree(shapes / "images", folder)
    files = [str(shapes / "train.json")] * 2
    data = DataArguments(eval_data_path=files, eval_image_folder=[str(folder) for folder in folders])
    root = held_out_folder(data)
    assert root == tmp_path
    records = held_out_records(data)
    paths = [record.images[0].path for record in records]
    half = len(paths) // 2
    assert [path.removeprefix("one/") for path in paths[:half]] == [
        path.removeprefix("two/deep/") for path in paths[half:]
    ]
    assert all((root / path).is_file() for path in paths)


@pytest.mark.parametrize("given", [{"image_folder": ["a", "b"]}, {"eval_image_folder": ["a", "b"]}])
def test_held_out_files_without_a_clear_folder_are_an_error(given):
    with pytest.raises(ConfigError, match="one folder for each file, or one for all"):
        held_out_folder(DataArguments(eval_data_path=["x"], **given))
