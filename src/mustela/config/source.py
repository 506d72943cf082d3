"""Recipes: YAML files, and the presets that come with the package."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mustela.config.fields import nearest
from mustela.errors import ConfigError


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice, of which plain YAML silently keeps the last."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise ConfigError(f"line {key_node.start_mark.line + 1}: {key!r} stands twice. Keep one of them.")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def preset_names() -> tuple[str, ...]:
    """List the presets that come with the package."""
    folder = resources.files("mustela.config") / "presets"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def read_recipe(source: str) -> dict[str, Any]:
    """Read a recipe by path or a preset by name, with what it `extends` put underneath.

    Raises ConfigError when there is no such file or preset, or the YAML is no mapping.
    """
    return _read(source, relative_to=None, chain=())


def _read(source: str, *, relative_to: Path | None, chain: tuple[str, ...]) -> dict[str, Any]:
    if source in chain:
        raise ConfigError(f"{' extends '.join([*chain, source])}: a recipe cannot extend itself.")
    text, path = _text_of(source, relative_to=relative_to)
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ConfigError) as error:
        raise ConfigError(f"{source}: {error}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{source}: a recipe is a YAML mapping of settings, `name: value` on each line.")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    folder = path.parent if path is not None else None
    return {**_read(str(parent), relative_to=folder, chain=(*chain, source)), **values}


def _text_of(source: str, *, relative_to: Path | None) -> tuple[str, Path | None]:
    if source in preset_names():
        return (resources.files("mustela.config") / "presets" / f"{source}.yaml").read_text("utf-8"), None
    candidates = [Path(source)]
    if relative_to is not None:
        candidates.insert(0, relative_to / source)
    for path in candidates:
        if path.is_file():
            return path.read_text("utf-8-sig"), path
    raise ConfigError(
        f"There is neither a recipe file nor a preset {source!r}.{nearest(source, preset_names())} "
        f"Presets: {', '.join(preset_names()) or 'none'}."
    )
