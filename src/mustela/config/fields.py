"""Fields of the argument classes, and text or YAML values made into what a field holds."""

import dataclasses
import difflib
import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mustela.errors import ConfigError

_WORDS = {
    "true": True, "yes": True, "on": True, "1": True, "y": True, "t": True,
    "false": False, "no": False, "off": False, "0": False, "n": False, "f": False,
}  # fmt: skip
# What settings are called elsewhere, where no spelling leads to ours.
_ELSEWHERE = {
    "batch_size": "per_device_train_batch_size", "epochs": "num_train_epochs", "lora_rank": "lora_r",
    "lr": "learning_rate",
}  # fmt: skip
_JSON_EXAMPLE = "'{\"name\": 1}'"


@dataclass(frozen=True)
class Field:
    """One setting: its name, the types it may hold (unions flattened, without None), and its help text."""

    name: str
    types: tuple[Any, ...]
    optional: bool
    default: Any
    help: str
    group: str

    @property
    def is_bool(self) -> bool:
        """True for a switch that may stand bare on the command line, beside words such as `auto`."""
        return bool in self.types and all(kind is bool or get_origin(kind) is Literal for kind in self.types)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that the setting may hold."""
        return tuple(
            str(word) for kind in self.types if get_origin(kind) is Literal for word in get_args(kind)
        )

    @property
    def is_mapping(self) -> bool:
        """True for a setting of names and values, given as JSON or, for some, as a file of it."""
        return any(get_origin(kind) is dict or kind is dict for kind in self.types)

    @property
    def is_list(self) -> bool:
        """True for a setting that takes several values after one flag."""
        return any(get_origin(kind) is list or kind is list for kind in self.types)


def fields_of(cls: type, *, group: str) -> dict[str, Field]:
    """List the settings of a dataclass by name.

    Types that no text can express (objects of other libraries) are left out.
    """
    hints = get_type_hints(cls)
    found = {}
    for item in dataclasses.fields(cls):
        members = tuple(_members(hints[item.name]))
        kinds = _in_order([kind for kind in members if kind is not type(None)])
        if not item.init or not any(_expressible(kind) for kind in kinds):
            continue
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        elif default is dataclasses.MISSING:
            default = None
        text = str(item.metadata.get("help", ""))
        optional = type(None) in members or default is None
        found[item.name] = Field(item.name, kinds, optional, default, text, group)
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is closest, as the end of an error message; empty when none is."""
    names = list(known)
    if _ELSEWHERE.get(name) in names:
        return f" Did you mean {_ELSEWHERE[name]!r}?"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def coerce(value: Any, field: Field, *, where: str) -> Any:
    """Make a flag's text or a YAML value into what the field holds.

    `where` names the source for messages ("--learning_rate", "recipe.yaml: learning_rate").
    Raises ConfigError when the value does not fit.
    """
    if value is None:
        if field.optional:
            return None
        raise ConfigError(f"{where}: a value is needed here. {_wanted(field)}")
    if field.is_mapping and isinstance(value, str):
        _check_mapping_text(value, field, where=where)
    if field.is_list and not (isinstance(value, str) and str in field.types):
        return _coerce_list(value, field, where=where)
    if field.optional and str not in field.types and value in ("none", "null", "None"):
        return None
    for kind in field.types:
        made, fits = _convert(value, kind, alone=len(field.types) == 1)
        if fits:
            return made
    raise ConfigError(f"{where}: {value!r} does not fit. {_wanted(field)}")


def _coerce_list(value: Any, field: Field, *, where: str) -> list[Any]:
    kind = next(kind for kind in field.types if get_origin(kind) is list or kind is list)
    inner = (get_args(kind) or (str,))[0]
    items = list(value) if isinstance(value, list | tuple) else [value]
    out = []
    for number, item in enumerate(items, start=1):
        made, fits = _convert(item, inner, alone=True)
        if not fits or item is None:
            raise ConfigError(f"{where}: value {number}, {item!r}, does not fit. {_wanted(field)}")
        out.append(made)
    return out


def _convert(value: Any, kind: Any, *, alone: bool) -> tuple[Any, bool]:
    """Return (converted value, True), or (None, False) when the value is not of that kind."""
    if get_origin(kind) is Literal:
        return _convert_literal(value, get_args(kind))
    if kind is bool:
        return _convert_bool(value)
    if kind is int or kind is float:
        return _convert_number(value, kind)
    if kind is dict or get_origin(kind) is dict:
        return _convert_mapping(value)
    if kind is str:
        # YAML reads an unquoted `no` as false: `eval_strategy: no` means the word.
        if isinstance(value, bool):
            return ("yes" if value else "no"), alone
        return str(value), isinstance(value, str | int | float)
    if isinstance(kind, type) and issubclass(kind, Enum):
        word = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
        return word, word in [member.value for member in kind]
    return None, False


def _convert_literal(value: Any, choices: tuple[Any, ...]) -> tuple[Any, bool]:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    for choice in choices:
        # A flag's number is text.
        if value == choice or (isinstance(value, str) and value == str(choice)):
            return choice, True
    return None, False


def _convert_bool(value: Any) -> tuple[Any, bool]:
    if isinstance(value, bool):
        return value, True
    word = str(value).strip().lower()
    return _WORDS.get(word), word in _WORDS


def _convert_number(value: Any, kind: type) -> tuple[Any, bool]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None, False
    try:
        number = float(value)
    except ValueError:
        return None, False
    if kind is float:
        return number, True
    return (int(number), True) if number.is_integer() else (None, False)


def _check_mapping_text(value: str, field: Field, *, where: str) -> None:
    """Make sure that a text can be what a mapping is made of: JSON, or a file's name where one is read."""
    text = value.strip()
    if text.startswith("{"):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{where}: {value!r} is broken JSON ({error}). Write it like {_JSON_EXAMPLE}, with "
                "names in double quotes."
            ) from None
        return
    may_be_file = str in field.types and not field.name.endswith("_kwargs")
    if text and (not may_be_file or ("=" in text and not text.endswith(".json"))):
        raise ConfigError(
            f"{where}: {value!r} does not fit. Give names and values as JSON, like {_JSON_EXAMPLE}."
        )


def _convert_mapping(value: Any) -> tuple[Any, bool]:
    if isinstance(value, Mapping):
        return dict(value), True
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value), True
        except json.JSONDecodeError:
            return None, False
    return None, False


def _members(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in _members(part)]
    return [hint]


def _in_order(kinds: list[Any]) -> tuple[Any, ...]:
    """Text last, since every value fits it; and not at all beside an enumeration."""
    narrow = [kind for kind in kinds if kind is not str]
    if str not in kinds or any(isinstance(kind, type) and issubclass(kind, Enum) for kind in narrow):
        return tuple(narrow)
    return (*narrow, str)


def _expressible(kind: Any) -> bool:
    if get_origin(kind) in (list, dict, Literal) or kind in (bool, int, float, str, list, dict):
        return True
    return isinstance(kind, type) and issubclass(kind, Enum)


def _wanted(field: Field) -> str:
    choices = [*field.words, *(("true", "false") if field.is_bool and field.words else ())]
    choices += [
        member.value
        for kind in field.types
        if isinstance(kind, type) and issubclass(kind, Enum)
        for member in kind
    ]
    if choices:
        return f"Give one of: {', '.join(choices)}."
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return f"Give {' or '.join(names.get(kind, str(kind)) for kind in field.types)}."
