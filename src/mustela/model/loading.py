"""Loading models from folders, and the ones that come with the package by name."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from mustela.data.processor import MustelaProcessor
from mustela.errors import CheckpointError
from mustela.model.configuration import MustelaConfig
from mustela.model.modeling import MustelaForConditionalGeneration


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


def is_mustela_model(path: str | Path) -> bool:
    """Tell from its files whether a folder holds a mustela model."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return False
    return bool(json.loads(file.read_text(encoding="utf-8")).get("model_type") == MustelaConfig.model_type)


def load_model(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Load a model and its processor.

    Args:
        path: a model's folder, a run's folder (its `final/` is taken) or the name of a packaged model.
        device: where to put it; None: an accelerator if there is one, else the CPU.
        dtype: of its weights.
        kwargs: passed to `from_pretrained`.

    Raises:
        CheckpointError: no mustela model there; the message says what was looked for.
    """
    folder = resolve_model_path(path)
    if not is_mustela_model(folder):
        raise CheckpointError(
            f"{folder} holds no mustela model: looked for a config.json with model_type"
            f" {MustelaConfig.model_type!r}."
            " To give regions to another model, train with --model_name_or_path."
        )
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    model = MustelaForConditionalGeneration.from_pretrained(folder, dtype=dtype, **kwargs)
    return model.to(device).eval(), MustelaProcessor.from_pretrained(folder)  # type: ignore[arg-type]
