"""A limit of time: the end in time, with the learning rate where its schedule ends."""

from __future__ import annotations

import json

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mustela.errors import ConfigError
from mustela.train import time_limit
from mustela.train.checkpoint import is_complete
from mustela.train.time_limit import TimeLimit
from mustela.train.trainer import MustelaTrainer


class Clock:
    """A clock that only steps of a training move, by five seconds each."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    whole = MustelaTrainer.training_step

    def step(trainer, *args, **kwargs):
        clock.now += 5
        return whole(trainer, *args, **kwargs)

    monkeypatch.setattr(MustelaTrainer, "training_step", step)
    monkeypatch.setattr(time_limit, "time", clock)
    return clock


def rates(runs, name):
    lines = (runs.root / name / "log.jsonl").read_text("utf-8").splitlines()
    return [line["learning_rate"] for line in map(json.loads, lines) if "learning_rate" in line]


def test_a_training_ends_in_time_with_its_schedule_done(runs, scratch, clock):
    recipe = {**scratch, "max_steps": 1000, "max_minutes": 0.5, "save_steps": 500, "warmup_steps": 0}
    assert runs("limited", recipe).finished
    # Six steps of five seconds are half a minute; the rate falls from 1e-3 to 0 meanwhile.
    assert rates(runs, "limited") == pytest.approx([1e-3 * (1 - sixth / 6) for sixth in range(6)], abs=1e-6)
    assert is_complete(runs.root / "limited" / "checkpoint-6")
    assert "step 6/1000" in runs.console


def test_steps_that_end_first_are_as_without_a_limit(runs, scratch):
    runs("unlimited", scratch)
    runs("ample", {**scratch, "max_minutes": 60})
    assert runs.losses("ample") == runs.losses("unlimited")
    assert rates(runs, "ample") == rates(runs, "unlimited")
    one, other = runs.weights("ample"), runs.weights("unlimited")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_interrupted_training_has_as_long_as_another(runs, scratch, clock):
    recipe = {**scratch, "max_steps": 1000, "max_minutes": 0.5, "save_steps": 2}
    runs("unbroken", recipe)
    runs.interrupted("broken", recipe, at=3)
    clock.now += 1000
    assert runs("broken", recipe).finished
    assert runs.losses("broken") == runs.losses("unbroken")
    assert rates(runs, "broken") == pytest.approx(rates(runs, "unbroken"))


def test_a_schedule_that_is_no_function_of_the_step_is_refused():
    limit = TimeLimit(1, agree=lambda number: number)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ConfigError, match="max_minutes does not go with the schedule ReduceLROnPlateau"):
        limit.hasten(ReduceLROnPlateau(optimizer), 10)


def test_all_processes_follow_the_slowest_clock():
    limit = TimeLimit(1, agree=lambda number: 45_000)
    limit.on_optimizer_step(None, None, None)
    assert limit.share == 0.75
    assert limit.used() < 45


@pytest.mark.parametrize("minutes", [0, -1])
def test_no_time_is_no_training(runs, scratch, minutes):
    with pytest.raises(ConfigError, match="max_minutes"):
        runs("none", {**scratch, "max_minutes": minutes})
