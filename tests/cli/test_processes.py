"""`--num_processes`, taken out of a command line."""

from __future__ import annotations

import pytest

from mustela.cli.main import main
from mustela.cli.processes import take_processes
from mustela.errors import ConfigError


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.parametrize(
    ("words", "count", "rest"),
    [
        (["a.yaml", "--bf16"], 1, ["a.yaml", "--bf16"]),
        (["a.yaml", "--num_processes", "4", "--bf16"], 4, ["a.yaml", "--bf16"]),
        (["a.yaml", "--num-processes=2"], 2, ["a.yaml"]),
    ],
)
def test_the_number_is_taken_out(words, count, rest):
    assert take_processes(words) == (count, rest)


@pytest.mark.parametrize("words", [["--num_processes"], ["--num_processes", "0"], ["--num_processes=all"]])
def test_what_is_no_number_is_told(words):
    with pytest.raises(ConfigError, match="--num_processes is the number of processes"):
        take_processes(words)


def test_processes_are_started_once(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave it out"):
        take_processes(["--num_processes", "2"])


def test_mistakes_are_told_before_processes_start(capsys, monkeypatch):
    monkeypatch.setattr("mustela.cli.train.run_processes", lambda *args: pytest.fail("started"))
    assert main(["train", "--num_processes", "2", "--learning_rat", "1"]) == 2
    assert "did you mean" in capsys.readouterr().err.lower()
