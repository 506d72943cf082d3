"""Phrasings: how tasks are asked and answered, from JSON files that users edit and translate.

A file has, for each task, lists of `ask` and `answer` (for some tasks `item`, `none`, `yes` and `no`), in
which `{name}`, `{a_name}` (with the English article, if `article` is set), `{phrase}`, `{region}` and so on
stand for what the annotation says.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from mustela.errors import ConfigError

_NAMES: Final = frozenset({"name", "a_name"})
FIELDS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "refer": {"ask": frozenset({"region"}), "answer": _NAMES},
    "refer_phrase": {"ask": frozenset({"region"}), "answer": frozenset({"phrase"})},
    "attributes": {"ask": _NAMES | {"region"}, "answer": _NAMES | {"attributes"}},
    "relation": {
        "ask": frozenset({"region", "other"}),
        "answer": _NAMES | {"predicate", "object", "region", "other"},
    },
    "ground": {"ask": _NAMES, "item": _NAMES | {"region"}, "answer": frozenset({"items"}), "none": _NAMES},
    "ground_phrase": {"ask": frozenset({"phrase"}), "answer": frozenset({"phrase", "region"})},
    "detect": {"ask": frozenset(), "item": _NAMES | {"region"}, "answer": frozenset({"items"})},
    "presence": {"ask": _NAMES, "yes": _NAMES | {"region"}, "no": _NAMES},
    "caption": {"ask": frozenset()},
    "caption_boxes": {"ask": frozenset()},
    "dense_refer": {"ask": frozenset({"regions"}), "item": _NAMES, "answer": frozenset({"items"})},
    "dense_detect": {
        "ask": frozenset({"names"}),
        "item": _NAMES | {"region"},
        "answer": frozenset({"items"}),
    },
}
"""The parts of each task, and the fields that may stand in them."""

_REGIONS: Final = frozenset({"region", "other", "regions"})
_REQUIRED_IN_ASK: Final = {"refer", "refer_phrase", "attributes", "relation", "dense_refer"}


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The phrasings of one language; `parts[task][part]` are the choices."""

    language: str
    article: bool
    separator: str
    last_separator: str
    parts: Mapping[str, Mapping[str, Sequence[str]]]

    def say(self, task: str, part: str, rng: np.random.Generator, **values: str) -> str:
        """Return one of the choices, filled in; which one, the generator says."""
        choices = self.parts[task][part]
        if "name" in values:
            values["a_name"] = self.with_article(values["name"])
        text = choices[int(rng.integers(len(choices)))].format(**values)
        return text[0].upper() + text[1:] if part in ("ask", "yes", "no", "none") else text

    def with_article(self, name: str) -> str:
        """Return a name with its English article, where the language has one."""
        if not self.article:
            return name
        return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"

    def join(self, items: Sequence[str]) -> str:
        """Return a list as text."""
        *first, last = items
        return self.separator.join(first) + self.last_separator + last if first else last


def load_phrasings(name: str | Path) -> Phrasings:
    """Return the phrasings of a language that mustela ships (`en`, `zh`), or of a file.

    Raises:
        ConfigError: neither; or the file lacks a part, or a text has an unknown field. Names the place.
    """
    shipped = {
        Path(file.name).stem: file
        for file in (resources.files("mustela.data.tasks") / "phrasings").iterdir()
        if file.name.endswith(".json")
    }
    file: Any = shipped.get(str(name), Path(name))
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(shipped))
        raise ConfigError(f"phrasings {str(name)!r}: no such file, and no language of: {known}.") from error
    except ValueError as error:
        raise ConfigError(f"{name}: not JSON: {error}.") from error
    return _checked(value, str(name))


def _checked(value: Any, file: str) -> Phrasings:
    parts: dict[str, dict[str, list[str]]] = {}
    for task, fields in FIELDS.items():
        of_task = value.get(task)
        if not isinstance(of_task, Mapping):
            raise ConfigError(f"{file}: the task {task!r} is missing. Tasks: {', '.join(FIELDS)}.")
        parts[task] = {}
        for part, allowed in fields.items():
            choices = of_task.get(part)
            if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
                raise ConfigError(f"{file}: {task}.{part} is {choices!r}. It is a list of at least one text.")
            for text in choices:
                _check_fields(text, allowed, f"{file}: {task}.{part} {text!r}")
                if part == "ask" and task in _REQUIRED_IN_ASK and not _REGIONS & set(_fields(text)):
                    raise ConfigError(f"{file}: {task}.{part} {text!r} names no region.")
            parts[task][part] = choices
    try:
        return Phrasings(
            str(value.get("language", "")),
            bool(value.get("article", False)),
            str(value["separator"]),
            str(value["last_separator"]),
            parts,
        )
    except KeyError as error:
        raise ConfigError(f"{file}: {error} is missing.") from error


def _fields(text: str) -> list[str]:
    return [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]


def _check_fields(text: str, allowed: frozenset[str], where: str) -> None:
    try:
        unknown = sorted(set(_fields(text)) - allowed)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}. Write braces as {{{{ and }}}}.") from error
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        raise ConfigError(f"{where}: unknown field {{{unknown[0]}}}. Fields here: {known}.")
