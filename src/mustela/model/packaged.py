"""Where models lie: folders, runs, and the ones that come with the package by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mustela.errors import CheckpointError


def packaged_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    folder = resources.files("mustela") / "assets"
    if not folder.is_dir():
        return ()
    return tuple(sorted(item.name for item in folder.iterdir() if (item / "config.json").is_file()))


def resolve_model_path(name: str | Path) -> Path:
    """Return the folder of a model: a path, or the name of one that comes with the package.

    Raises:
        CheckpointError: neither; or the folder holds no model. The message lists what was looked for.
    """
    path = Path(name)
    if not path.is_dir() and str(name) in packaged_models():
        return Path(str(resources.files("mustela") / "assets" / str(name)))
    if not path.is_dir():
        known = ", ".join(packaged_models()) or "none"
        raise CheckpointError(
            f"There is no folder {str(name)!r}, and no packaged model of that name (known: {known})."
        )
    if (path / "final" / "config.json").is_file() and not (path / "config.json").is_file():
        path = path / "final"
    return path
