"""The command line of `mustela train`: an optional recipe, then flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mustela.config.fields import Field, nearest
from mustela.config.renamed import RENAMED
from mustela.errors import ConfigError

_BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off", "1", "0")
_OPEN_SECTIONS = ("stages.", "from_scratch.")
_CHECKED_LATER = ("lora_enable", "lora_weight_path")


@dataclass(frozen=True)
class CommandLine:
    """A recipe or preset (or None) and the raw values of the flags, in the order given."""

    recipe: str | None
    values: Mapping[str, Any]


def parse_flags(words: Sequence[str], fields: Mapping[str, Field]) -> CommandLine:
    """Split a command line into the recipe and the values of its flags.

    `--name value`, `--name=value`, `--name a b c` for lists, `--name` and `--no_name` for switches; dashes
    may stand for underscores. Where a flag is repeated, the last one counts. Values stay texts here.
    Raises ConfigError for an unknown flag (naming the nearest) and for a value without a flag.
    """
    recipe: str | None = None
    values: dict[str, Any] = {}
    switch: Field | None = None
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--"):
            if recipe is not None or values:
                raise _stray(word, switch=switch, has_recipe=recipe is not None)
            recipe = word
            continue
        head, given, inline = word[2:].partition("=")
        name = head if head.startswith(_OPEN_SECTIONS) else head.replace("-", "_")
        following = _following(words, at)
        switch = None
        if given:
            values[name] = inline
            _check_known(name, fields)
        elif (
            name not in fields and name.startswith("no_") and name[3:] in fields and fields[name[3:]].is_bool
        ):
            values[name[3:]] = False
        else:
            _check_known(name, fields)
            taken = _take(name, following, fields.get(name))
            values[name] = _value(name, taken, fields.get(name))
            at += len(taken)
            switch = fields[name] if not taken and name in fields and fields[name].is_bool else None
    _check_adapter_flags(recipe, values)
    return CommandLine(recipe, values)


def _stray(word: str, *, switch: Field | None, has_recipe: bool) -> ConfigError:
    """Say of a word behind a flag that it can't be the flag's value."""
    before = "" if has_recipe else " The recipe comes before the flags."
    if switch is not None:
        words = ", ".join([*switch.words, "true or false"])
        return ConfigError(f"--{switch.name} {word}: the flag takes {words}, or nothing, for true.{before}")
    hint = " Quote a value that has blanks." if has_recipe else before
    return ConfigError(f"{word!r} on the command line belongs to no flag.{hint}")


def _check_adapter_flags(recipe: str | None, values: Mapping[str, Any]) -> None:
    """Make sure that flags of adapters come with the one that switches adapters on; a recipe may do that."""
    named = [name for name in values if name.startswith("lora_") and name not in _CHECKED_LATER]
    if recipe is None and named and "lora_enable" not in values:
        raise ConfigError(
            f"--{named[0]} {values[named[0]]} has no effect without adapters: add --lora_enable True, or "
            "leave it out."
        )


def _following(words: Sequence[str], at: int) -> list[str]:
    found = []
    for word in words[at:]:
        if word.startswith("--"):
            break
        found.append(word)
    return found


def _take(name: str, following: list[str], field: Field | None) -> list[str]:
    """Choose how many of the words behind a flag are its values."""
    if field is None or name in RENAMED or field.is_list:
        return following
    if field.is_bool and following and following[0].lower() not in (*_BOOLEAN_WORDS, *field.words):
        return []
    return following[:1]


def _value(name: str, taken: list[str], field: Field | None) -> Any:
    if field is not None and field.is_list and name not in RENAMED:
        return taken if len(taken) != 1 or str not in field.types else taken[0]
    if len(taken) > 1:
        return taken
    if taken:
        return taken[0]
    if field is None or field.is_bool or name in RENAMED:
        return True
    raise ConfigError(f"--{name} needs a value.")


def _check_known(name: str, fields: Mapping[str, Field]) -> None:
    if name in fields or name in RENAMED or name.startswith(_OPEN_SECTIONS):
        return
    raise ConfigError(f"--{name} is not a known flag.{nearest(name, [*fields, *RENAMED])}")


def help_text(fields: Mapping[str, Field]) -> str:
    """Describe all flags, group by group, with their defaults."""
    lines = []
    group = None
    for field in fields.values():
        if field.group != group:
            group = field.group
            lines += ["", f"{group}:"]
        default = "" if field.default in (None, [], "") else f" [{_plain(field.default)}]"
        text = " ".join(field.help.split())
        lines.append(f"  --{field.name}{default}")
        if text:
            lines.append(f"        {text[:240]}")
    return "\n".join(lines[1:])


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return str(value)
