"""Checking that a benchmark's official files are where they should be, and finding pictures among them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError, RecordError
from mustela.evaluate.benchmarks.protocol import Benchmark

_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class Checked:
    """A needed path: where it comes from and whether it is there; `files` counts what a pattern met."""

    path: str
    source: str
    found: bool
    files: int
    pictures: bool
    optional: bool


def check_folder(benchmark: Benchmark, root: Path, split: str) -> list[Checked]:
    """Return for every path that a split needs whether `root` has it.

    Raises ConfigError when there is no such folder.
    """
    if not root.is_dir():
        raise ConfigError(f"--root {root}: there is no such folder.")
    checked = []
    for needed in benchmark.files:
        if needed.splits and split not in needed.splits:
            continue
        path = needed.path.replace("{split}", split)
        # Alternatives are written with a bar: the official names differ between releases.
        count = max(sum(1 for _ in root.glob(option)) for option in path.split(" | "))
        checked.append(Checked(path, needed.source, count > 0, count, needed.pictures, needed.optional))
    return checked


def find_file(root: Path, pattern: str) -> Path:
    """Return the first file or folder below `root` that a pattern meets; a ConfigError if there is none."""
    found = min(root.glob(pattern), default=None)
    if found is None:
        raise ConfigError(
            f"{root} has no {pattern.removeprefix('**/')}: the benchmark's files are incomplete."
        )
    return found


class Pictures:
    """Finds pictures by the name that annotations give them, wherever below a folder they lie.

    Official archives unpack into different folders; file names are unique in all of these benchmarks.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, str] | None = None

    def path(self, name: str) -> str:
        """Return the path of a picture below the root; the name itself when there is no such file."""
        if (self.root / name).is_file():
            return name
        if self._by_name is None:
            self._by_name = {
                file.name: file.relative_to(self.root).as_posix()
                for file in sorted(self.root.rglob("*"), reverse=True)
                if file.suffix.lower() in _SUFFIXES
            }
        return self._by_name.get(Path(name).name, name)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; a RecordError says what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a JSON file that can be read: {error}.") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line, or of one array; a RecordError names a bad line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: can't be read: {error}.") from error
    if text.lstrip().startswith("["):
        return objects(read_json(path), path)
    found: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise RecordError(f"{path}, line {number}: not JSON: {error}.") from error
    return objects(found, path)


def objects(values: Any, path: Path) -> list[dict[str, Any]]:
    """Return a list of JSON objects as it is; anything else is a RecordError."""
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise RecordError(f"{path}: a list of objects is expected.")
    return values


def need(entry: dict[str, Any], keys: Iterable[str], *, path: Path, number: int) -> None:
    """Raise a RecordError unless an entry has all the keys."""
    absent = [key for key in keys if key not in entry]
    if absent:
        raise RecordError(f"{path}: entry {number} has no {', '.join(absent)}.")


def fill(prompt: str, **fields: str) -> str:
    """Return a prompt with its `{name}` fields filled in.

    Other braces stay as they are.

    Raises:
        ConfigError: the prompt lacks a field, or has one that doesn't exist.
    """
    unknown = [name for name in _FIELD.findall(prompt) if name not in fields]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise ConfigError(f"--prompt {prompt!r}: there is no field {{{unknown[0]}}} here. Known: {known}.")
    for name, value in fields.items():
        if f"{{{name}}}" not in prompt:
            raise ConfigError(f"the prompt {prompt!r} lacks {{{name}}}: every question would be the same.")
        prompt = prompt.replace(f"{{{name}}}", value)
    return prompt
