"""Files of named tensors, safetensors or pickled, read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mustela.errors import CheckpointError

PICKLES = (".bin", ".pt", ".pth")


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """Read a file of plain tensors.

    Args:
        path: `.safetensors`, or a pickle (`.bin`, `.pt`, `.pth`).
        mapped: leave a pickle's numbers on the disk until they are used, where its format allows.

    Raises:
        CheckpointError: the file is missing, broken, or a pickle with anything but tensors inside.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such file. Tensors come from a .safetensors or .bin file."
        )
    try:
        if path.suffix in PICKLES:
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=mapped and _is_archive(path)
            )
        else:
            content = load_file(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors and was not loaded, because loading those can run "
            "code. Convert it to safetensors where you trust it: "
            "`save_file(torch.load(path, weights_only=False), 'out.safetensors')`."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable file of tensors: {error}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds something other than named tensors.")
    return {str(name): value for name, value in content.items()}


def _is_archive(path: Path) -> bool:
    """Tell whether a pickle is a zip archive, as since torch 1.6; older ones can't be mapped."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
