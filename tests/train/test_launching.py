"""Several processes as users start them: by the command itself and by accelerate's launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mustela.train.checkpoint import is_complete

LAUNCH = Path(__file__).parents[2] / "recipes" / "launch"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def recipe(scratch, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**scratch, "max_steps": 4, "save_steps": 1000}), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_signal_to_the_command_reaches_all_processes(recipe, tmp_path):
    folder = tmp_path / "run"
    line = [sys.executable, "-m", "mustela", "train", str(recipe), "--output_dir", str(folder)]
    line += ["--num_processes", "2", "--max_steps", "100000"]
    with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        while not (folder / "log.jsonl").is_file():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM, told
    assert told.count("Stopped behind step") == 1
    (checkpoint,) = folder.glob("checkpoint-*")
    assert is_complete(checkpoint)
    # What all processes find is told once, and its status is the command's.
    done = subprocess.run(
        [*line, "--learning_rate", "1"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("mustela: error") == 1
    assert "learning_rate: 0.001 there, 1.0 now" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_accelerate_launches_it(recipe, tmp_path):
    line = [sys.executable, "-m", "accelerate.commands.launch"]
    line += ["--config_file", str(LAUNCH / "one_node.yaml"), "--num_processes", "2", "-m", "mustela", "train"]
    line += [str(recipe), "--output_dir", str(tmp_path / "run"), "--max_steps", "1"]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert is_complete(tmp_path / "run" / "final")
    report = yaml.safe_load((tmp_path / "run" / "environment.json").read_text("utf-8"))
    assert report["starts"][0]["processes"] == 2


@pytest.mark.parametrize("name", ["one_node.yaml", "many_nodes.yaml"])
def test_launch_files_name_processes_and_no_engine(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(LAUNCH / name))
    assert config.num_processes == 8 * config.num_machines
    assert not config.fsdp_config
    assert not config.deepspeed_config
