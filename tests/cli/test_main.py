"""The command line as a whole: fast help, exit statuses, any terminal."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from mustela import __version__
from mustela.cli import version
from mustela.cli.command import add_command
from mustela.cli.main import COMMANDS, build_parser, main
from mustela.errors import ConfigError

ENTRY = [sys.executable, "-m", "mustela"]


def run_mustela(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*ENTRY, *arguments], capture_output=True, check=False, env={**os.environ, **environment}, timeout=60
    )


def test_help_names_every_command_and_imports_no_torch() -> None:
    program = (
        "import sys\nfrom mustela.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    print('status', end.code)\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("status 0\nFalse False False\n")
    for command in COMMANDS:
        assert f"\n    {command.__name__.rpartition('.')[2]} " in done.stdout


def test_every_command_has_add_parser_and_run() -> None:
    parser = build_parser()
    for command in COMMANDS:
        assert callable(command.add_parser)
        assert callable(command.run)
    assert parser.parse_args(["version"]).run is version.run


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"mustela {__version__}\n"


def test_version_command_names_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"mustela {__version__}\npython 3.")
    assert "\ntorch " in out


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_unknown_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tarin"])
    assert end.value.code == 2
    assert "tarin" in capsys.readouterr().err


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(version, "run", run)


def test_user_error_is_one_message_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ConfigError("learning_rat is unknown; did you mean learning_rate?"), monkeypatch)
    assert main(["version"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "mustela: error: learning_rat is unknown; did you mean learning_rate?\n"


def test_user_error_shows_its_place_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ConfigError("no such preset"), monkeypatch)
    assert main(["--traceback", "version"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_programming_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(RuntimeError("ours"), monkeypatch)
    with pytest.raises(RuntimeError, match="ours"):
        main(["version"])


def test_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert main(["version"]) == 130
    assert capsys.readouterr().err == "mustela: interrupted\n"


def test_arguments_pass_through_untouched() -> None:
    parser = argparse.ArgumentParser()
    seen: list[argparse.Namespace] = []
    add_command(parser.add_subparsers(), "train", summary="train", run=seen.append, pass_through=True)
    words = ["recipe.yaml", "--help", "--fsdp", "full_shard auto_wrap", "--lora_enable", "False", "-h", "-1"]
    assert parser.parse_args(["train", *words]).arguments == words
    assert parser.parse_args(["train", "--dry_run"]).arguments == ["--dry_run"]
    assert parser.parse_args(["train"]).arguments == []


# A C locale without Python's coercion to UTF-8, and a terminal that is declared to be ASCII.
NARROW = [
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "ascii"},
]


@pytest.mark.parametrize("environment", NARROW)
def test_output_survives_a_narrow_terminal(environment: dict[str, str]) -> None:
    # Escaped, because such an interpreter can't read them from its command line either.
    text, message = ascii("鼬 naïve — ✓"), ascii("Bild „鼬.jpg“ fehlt")
    program = (
        "import sys\nfrom mustela.cli import version\nfrom mustela.cli.main import main\n"
        "from mustela.errors import RecordError\n"
        f"def run(args):\n    print({text})\n    raise RecordError({message})\n"
        "version.run = run\nsys.exit(main(['version']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 2, done.stderr
    assert b"na" in done.stdout
    assert done.stderr.startswith(b"mustela: error: Bild ")
    assert b"Traceback" not in done.stderr


def test_reader_that_goes_away_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*ENTRY, "version"], stdout=write_end, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == b""


def test_module_and_script_are_the_same_command() -> None:
    done = run_mustela("--version")
    assert done.stdout.decode() == f"mustela {__version__}\n"


def test_file_names_are_unicode_whatever_the_locale(tmp_path):
    file = tmp_path / "数据é.json"
    file.write_text("[]", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    look = (
        "import sys\nfrom mustela.cli import main as module\n"
        "def build_parser():\n    print(sys.getfilesystemencoding(), sys.stdout.encoding, sys.argv[1])\n"
        "    sys.exit()\n"
        "module.build_parser = build_parser\nmodule.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, str(file)], env=environment, capture_output=True, text=True, check=True
    )
    shown = str(file).encode("ascii", errors="backslashreplace").decode()
    assert done.stdout.split() == ["utf-8", "ascii", shown]
