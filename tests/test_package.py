"""The package as it is installed: light imports, optional extras, what a wheel holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mustela
from mustela import errors
from mustela.errors import MissingExtraError, MustelaError, require

ROOT = Path(__file__).parents[1]

HEAVY = ("torch", "transformers", "datasets", "peft", "accelerate", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "module",
    ["mustela", "mustela.errors", "mustela.regions", "mustela.config", "mustela.data", "mustela.cli.main"],
)
def test_import_is_light(module: str) -> None:
    program = f"import sys, {module}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_top_of_the_package_gives_its_names_on_first_use() -> None:
    assert sorted(mustela.__all__) == mustela.__all__ == dir(mustela)
    for name in mustela.__all__:
        assert getattr(mustela, name) is not None
    with pytest.raises(AttributeError, match="Predicter"):
        _ = mustela.Predicter


def test_missing_extra_is_one_line_with_package_extra_and_original_error() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("mustela_has_no_such_package", extra="quantization")
    message = str(caught.value)
    assert "\n" not in message
    assert "mustela_has_no_such_package can't be imported" in message
    assert 'pip install "mustela[quantization]"' in message
    assert "No module named 'mustela_has_no_such_package'" in message


def test_broken_extra_keeps_the_reason_of_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = 'raise ImportError("libexample.so.12:\\n  cannot open shared object file")\n'
    (tmp_path / "installed_but_broken.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        require("installed_but_broken", extra="deepspeed")
    message = str(caught.value)
    assert "libexample.so.12: cannot open shared object file" in message
    assert "\n" not in message


# Not flash_attn: transformers itself imports it, if it is there, and fails with its error.
OPTIONAL = ("deepspeed", "bitsandbytes", "gradio")


@pytest.mark.slow
def test_without_optional_packages_everything_imports_and_every_help_works(tmp_path: Path) -> None:
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text('raise ImportError("undefined symbol")\n')
    program = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "import mustela\n"
        "[getattr(mustela, name) for name in mustela.__all__]\n"
        "from mustela.cli.main import COMMANDS, main\n"
        "import torch, mustela.train\n"
        "for command in COMMANDS:\n"
        "    try:\n        main([command.__name__.rpartition('.')[2].replace('_', '-'), '--help'])\n"
        "    except SystemExit as end:\n        assert not end.code, command\n"
        "print('cuda', torch.cuda.is_initialized())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("cuda False\n")


def test_require_returns_the_module() -> None:
    assert require("json", extra="dev").dumps([1]) == "[1]"


def test_every_error_is_a_mustela_error() -> None:
    children = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert all(issubclass(child, MustelaError) for child in children)
    assert issubclass(MustelaError, ValueError)


def test_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/mustela/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", mustela.__version__)


def test_every_requirement_is_pinned_in_the_tested_set() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # These are installed on the machines that need them; the tests run without.
    untested = {"quantization", "deepspeed", "liger"}
    requirements = list(project["dependencies"])
    for extra, packages in project["optional-dependencies"].items():
        if extra not in untested:
            requirements += packages
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(line.split("==")[0]) for line in pins if line and not line.startswith("#")}
    missing = {normalised(re.split(r"[\[<>=!~;]", line)[0]) for line in requirements} - pinned
    assert missing == set()
    assert not any("+" in line or "://" in line for line in pins if not line.startswith("#"))


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("mustela/")}
    tracked = subprocess.run(
        ["git", "ls-files", "src/mustela"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout, so nothing says which files belong to the package")
    assert {name.removeprefix("src/") for name in tracked} - packed == set()
    assert "mustela/py.typed" in packed


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
