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

from mustela.train.folder import is_complete
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


@pytest.mark.slow
def test_the_command_ends_with_the_signal_s_status_and_at_once_at_the_second(runs, scratch):
    recipe = {**scratch, "max_steps": 100_000, "save_steps": 100_000, "dataloader_num_workers": 1}
    file = runs.root / "run.yaml"
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for name, signals, status in (("once", 1, 128 + signal.SIGTERM), ("twice", 2, -signal.SIGTERM)):
        folder = runs.root / name
        line = [sys.executable, "-m", "mustela", "train", str(file), "--output_dir", str(folder)]
        # Steps so long that the second signal comes before the end of one.
        slow = ["--gradient_accumulation_steps", "2000"] if signals == 2 else []
        with subprocess.Popen([*line, *slow], start_new_session=True, stderr=subprocess.PIPE) as process:
            started = folder / ("log.jsonl" if signals == 1 else "data_report.json")
            deadline = time.monotonic() + 120
            while not started.is_file() and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(0 if signals == 1 else 8)
            for _ in range(signals):
                # The whole group, as a scheduler does: workers must live until the checkpoint is there.
                os.killpg(process.pid, signal.SIGTERM)
                time.sleep(0.5)
            assert process.wait(120) == status
        assert any(is_complete(path) for path in folder.glob("checkpoint-*")) is (signals == 1)
