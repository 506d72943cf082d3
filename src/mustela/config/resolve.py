"""Recipe, stages and flags put together: YAML sets defaults, flags win."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mustela.config.fields import Field, coerce, nearest
from mustela.config.flags import parse_flags
from mustela.config.renamed import RENAMED, translate
from mustela.config.source import read_recipe
from mustela.errors import ConfigError


@dataclass(frozen=True)
class StageSettings:
    """One stage of a run: its name (empty for a run of one stage) and all settings given for it."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class RunSettings:
    """All that was said about a run: its stages in order, the model to build from nothing, and remarks.

    `stand_in` describes models and data for a dry run without them. `notes` are messages for the user
    (renamed flags), each once.
    """

    stages: tuple[StageSettings, ...]
    from_scratch: Mapping[str, Any] | None
    notes: tuple[str, ...]
    stand_in: Mapping[str, Any] | None = None


def resolve(words: Sequence[str], fields: Mapping[str, Field]) -> RunSettings:
    """Resolve a command line (an optional recipe or preset, then flags) against the known fields.

    Raises ConfigError for unknown keys and flags (naming the nearest) and for values that do not fit.
    """
    line = parse_flags(words, fields)
    recipe = read_recipe(line.recipe) if line.recipe is not None else {}
    plain = {name: value for name, value in line.values.items() if "." not in name}
    for name, value in line.values.items():
        if "." in name:
            _set_nested(recipe, name, value)
    stages = recipe.pop("stages", None) or [{}]
    from_scratch = recipe.pop("from_scratch", None)
    if from_scratch is not None and not isinstance(from_scratch, dict):
        raise ConfigError(f"{line.recipe}: from_scratch is a mapping that describes the model to build.")
    stand_in = recipe.pop("stand_in", None)
    if stand_in is not None and not isinstance(stand_in, dict):
        raise ConfigError(f"{line.recipe}: stand_in is a mapping of what a dry run plans with.")
    where = line.recipe or "recipe"
    flags, notes = _clean(plain, fields, where="--")
    base, base_notes = _clean(recipe, fields, where=f"{where}: ")
    if "output_dir" not in base and line.recipe is not None:
        base["output_dir"] = str(Path("runs") / Path(line.recipe).stem)
    made = []
    for number, stage in enumerate(_checked_stages(stages, where=where), start=1):
        name = str(stage.pop("name", f"{number}")) if stages != [{}] else ""
        own, own_notes = _clean(stage, fields, where=f"{where}: stage {name}: ")
        notes += own_notes
        made.append(StageSettings(name, {**base, **own, **flags}))
    return RunSettings(tuple(made), from_scratch, tuple(dict.fromkeys((*base_notes, *notes))), stand_in)


def _clean(
    values: Mapping[str, Any], fields: Mapping[str, Field], *, where: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    for name in values:
        if name not in fields and name not in RENAMED:
            extra = ("stages", "from_scratch", "stand_in", "extends", "name")
            raise ConfigError(
                f"{where}{name} is not a known setting.{nearest(name, [*fields, *RENAMED, *extra])}"
            )
    renamed, notes = translate(values)
    return {
        name: coerce(value, fields[name], where=f"{where}{name}") for name, value in renamed.items()
    }, notes


def _checked_stages(stages: Any, *, where: str) -> list[dict[str, Any]]:
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ConfigError(
            f"{where}: stages is a list; each stage has a name and the settings that differ in it."
        )
    for stage in stages:
        if "output_dir" in stage:
            raise ConfigError(
                f"{where}: a stage cannot have an output_dir: the stages of a run share its folder."
            )
    names = [stage.get("name") for stage in stages if "name" in stage]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: two stages have the same name ({', '.join(map(str, names))}).")
    return [dict(stage) for stage in stages]


def _set_nested(recipe: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `stages.NAME.key` or `from_scratch.a.b` inside a recipe; the value is read as YAML."""
    head, *rest = dotted.split(".")
    made = yaml.safe_load(value) if isinstance(value, str) else value
    if head == "stages":
        names = [str(stage.get("name")) for stage in recipe.get("stages") or []]
        if len(rest) != 2 or rest[0] not in names:
            raise ConfigError(
                f"--{dotted}: write --stages.NAME.setting; the stages are {', '.join(names) or 'none'}."
            )
        recipe["stages"] = [
            {**stage, rest[1]: made} if str(stage.get("name")) == rest[0] else stage
            for stage in recipe["stages"]
        ]
        return
    level = recipe.setdefault(head, {})
    for key in rest[:-1]:
        level = level.setdefault(key, {})
        if not isinstance(level, dict):
            raise ConfigError(f"--{dotted}: {key!r} holds a value, not a section.")
    level[rest[-1]] = made
