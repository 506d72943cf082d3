"""Signals: one checkpoint, then the end; the second ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from mustela.train.checkpoint import is_complete
from mustela.train.trainer import MustelaTrainer


@pytest.fixture
def signalled(monkeypatch):
    """Sends this process a signal in the middle of a step."""
    whole = MustelaTrainer.training_step

    def send(number, *, at):
        def step(trainer, *args, **kwargs):
            loss = whole(trainer, *args, **kwargs)
            if trainer.state.global_step == at - 1:
                os.kill(os.getpid(), number)
            return loss

        monkeypatch.setattr(MustelaTrainer, "training_step", step)

    return send


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=str,
)
def test_a_signal_leaves_a_checkpoint_to_go_on_from(runs, scratch, signalled, number, monkeypatch):
    recipe = {**scratch, "save_steps": 100, "dataloader_num_workers": 2}
    runs("unbroken", recipe)
    before = signal.getsignal(number)
    signalled(number, at=3)
    result = runs("stopped", recipe)
    monkeypatch.undo()
    assert (result.finished, result.signal) == (False, number)
    assert signal.getsignal(number) is before
    assert is_complete(runs.root / "stopped" / "checkpoint-3")
    assert not (runs.root / "stopped" / "final").exists()
    assert f"{number.name}: saving a checkpoint after this step" in runs.console
    assert "Stopped behind step 3" in runs.console
    assert runs("stopped", recipe).finished
    assert runs.losses("stopped") == runs.losses("unbroken")
    one, other = runs.weights("stopped"), runs.weights("unbroken")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_signal_in_the_last_step_does_not_keep_the_run_from_its_end(runs, scratch, signalled):
    signalled(signal.SIGTERM, at=4)
    assert runs("run", scratch).finished


# Says by a file that a step is under way, in which it then stays for a while.
DRIVER = """
import sys, time, pathlib
from mustela.cli.main import main
from mustela.train.trainer import MustelaTrainer
whole = MustelaTrainer.training_step
def step(trainer, *args, **kwargs):
    loss = whole(trainer, *args, **kwargs)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(float(sys.argv[2]))
    return loss
MustelaTrainer.training_step = step
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("signals", "status"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_the_command_ends_with_the_signal_s_status_and_at_once_at_the_second(runs, scratch, signals, status):
    recipe = {**scratch, "max_steps": 1000, "save_steps": 1000, "dataloader_num_workers": 1}
    file, stepping, folder = runs.root / "run.yaml", runs.root / "stepping", runs.root / "run"
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    line = [sys.executable, "-c", DRIVER, str(stepping), "1" if signals == 1 else "100"]
    line += ["train", str(file), "--output_dir", str(folder)]
    with subprocess.Popen(line, start_new_session=True, stderr=subprocess.PIPE) as process:
        while not stepping.is_file():
            assert process.poll() is None
            time.sleep(0.1)
        # The whole group, as a scheduler does: workers must live until the checkpoint is there.
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stderr is not None
        assert any(b"saving a checkpoint" in said for said in process.stderr)
        if signals == 2:
            time.sleep(1.2)  # what comes sooner is the same signal, handed on twice
            os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == status
    assert any(is_complete(path) for path in folder.glob("checkpoint-*")) is (signals == 1)
