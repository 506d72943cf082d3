"""The run folder: complete checkpoints, rotation, other settings, the log."""

from __future__ import annotations

import json

import pytest
import yaml

from mustela.errors import CheckpointError, ConfigError
from mustela.train.checkpoint import (
    COMPLETE,
    check_processes,
    check_resumable,
    checkpoints,
    is_complete,
    mark_complete,
    newest_checkpoint,
    put_in_place,
    remove_incomplete,
    rotate,
)
from mustela.train.files import append_json
from mustela.train.folder import RunFolder, check_run, open_run, trim_log


def checkpoint(folder, step, *, complete=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"x" * step)
    if complete:
        mark_complete(path, {"step": step})
    return path


def test_the_newest_checkpoint_is_the_newest_complete_one(tmp_path):
    checkpoint(tmp_path, 9)
    ten = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, complete=False)
    cut = checkpoint(tmp_path, 30)
    (cut / "model.safetensors").write_bytes(b"x")
    gone = checkpoint(tmp_path, 40)
    (gone / "model.safetensors").unlink()
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-9.old").mkdir()
    assert newest_checkpoint(tmp_path) == ten
    remove_incomplete(tmp_path)
    assert [step for step, _ in checkpoints(tmp_path)] == [9, 10]
    assert not (tmp_path / "checkpoint-9.old").exists()
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_a_broken_mark_is_no_mark(tmp_path):
    path = checkpoint(tmp_path, 5)
    (path / COMPLETE).write_text("{", encoding="utf-8")
    assert not is_complete(path)
    with pytest.raises(CheckpointError, match="not written to the end"):
        check_resumable(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        check_resumable(tmp_path / "checkpoint-6")


def test_bytes_that_changed_are_found_and_told(tmp_path):
    good, bad = checkpoint(tmp_path, 5), checkpoint(tmp_path, 6)
    (bad / "model.safetensors").write_bytes(b"xxyxxx")
    told = []
    assert newest_checkpoint(tmp_path, tell=told.append) == good
    assert len(told) == 1
    assert f"{bad} is damaged" in told[0]
    assert "model.safetensors" in told[0]
    with pytest.raises(CheckpointError, match=r"missing or different: model\.safetensors"):
        check_resumable(bad)


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    old = checkpoint(tmp_path, 5)
    (old / "model.safetensors").unlink()
    (tmp_path / "aside").mkdir()
    put_in_place(checkpoint(tmp_path / "aside", 5), old)
    assert newest_checkpoint(tmp_path) == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "checkpoint-5"]


def test_a_checkpoint_belongs_to_a_number_of_processes(tmp_path):
    path = tmp_path / "checkpoint-4"
    path.mkdir()
    (path / "trained.safetensors").touch()
    mark_complete(path, {"step": 4, "processes": 2})
    check_processes(path, 2)
    with pytest.raises(CheckpointError, match=r"written by 2 processes, and now there are 3.*--output_dir\."):
        check_processes(path, 3)
    (path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"--model_name_or_path .*checkpoint-4"):
        check_processes(path, 1)


@pytest.mark.parametrize(("keep", "left"), [(None, [1, 2, 3]), (0, [1, 2, 3]), (2, [2, 3]), (1, [3])])
def test_rotation_keeps_the_newest(tmp_path, keep, left):
    for step in (1, 2, 3):
        checkpoint(tmp_path, step)
    rotate(tmp_path, keep=keep)
    assert [step for step, _ in checkpoints(tmp_path)] == left


def test_rotation_spares_the_best(tmp_path):
    best = checkpoint(tmp_path, 1)
    for step in (2, 3):
        checkpoint(tmp_path, step)
    rotate(tmp_path, keep=2, protect=best)
    assert [step for step, _ in checkpoints(tmp_path)] == [1, 3]


def test_a_folder_goes_on_only_with_the_same_settings(tmp_path):
    folder = RunFolder(tmp_path / "run")
    config = {"learning_rate": 1e-3, "stages": [{"name": "a", "max_steps": 3}], "dataloader_num_workers": 0}
    check_run(folder, config, overwrite=False)
    open_run(folder, config, overwrite=False)
    assert yaml.safe_load(folder.config.read_text("utf-8")) == config
    # Nothing has been trained yet: any settings will do.
    check_run(folder, {**config, "learning_rate": 2e-3}, overwrite=False)
    checkpoint(folder.root, 3)
    check_run(folder, {**config, "dataloader_num_workers": 4}, overwrite=False)
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.001 there, 0\.002 now.*--overwrite_output_dir"):
        check_run(folder, {**config, "learning_rate": 2e-3}, overwrite=False)
    with pytest.raises(ConfigError, match=r"stages\.0\.max_steps: 3 there, 4 now"):
        check_run(folder, {**config, "stages": [{"name": "a", "max_steps": 4}]}, overwrite=False)
    (folder.root / "notes.txt").write_text("mine", encoding="utf-8")
    open_run(folder, {**config, "learning_rate": 2e-3}, overwrite=True)
    assert sorted(path.name for path in folder.root.iterdir()) == ["config.yaml", "notes.txt"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    checkpoint(tmp_path, 3)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="not of this run"):
            check_run(RunFolder(tmp_path), {}, overwrite=overwrite)
    assert newest_checkpoint(tmp_path) is not None


def test_the_log_forgets_what_is_done_again(tmp_path):
    log = tmp_path / "log.jsonl"
    for stage, step in (("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)):
        append_json(log, {"stage": stage, "step": step})
    with log.open("a", encoding="utf-8") as file:
        file.write('{"stage": "b", "st')
    trim_log(log, stage="b", after_step=2)
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [(entry["stage"], entry["step"]) for entry in entries] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    trim_log(log, stage="a", after_step=1)
    assert len(log.read_text("utf-8").splitlines()) == 1
