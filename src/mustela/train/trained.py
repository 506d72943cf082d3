"""Checkpoints of the parameters that learn alone, where all others come from the base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mustela.errors import CheckpointError

TRAINED_FILE = "trained.safetensors"


def save_trained(model: nn.Module, path: Path, *, state_dict: Mapping[str, Tensor] | None = None) -> None:
    """Write the parameters that learn."""
    own = dict(model.named_parameters())
    tensors = {
        name: (state_dict or own)[name].detach().cpu().contiguous()
        for name, parameter in own.items()
        if parameter.requires_grad
    }
    save_file(tensors, path, metadata={"format": "pt"})


def load_trained(model: nn.Module, path: Path) -> None:
    """Read the parameters that learn into a model.

    Raises:
        CheckpointError: the file has other parameters than those that learn now.
    """
    model.load_state_dict(read_trained(model, path), strict=False)


def read_trained(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Read the parameters that learn.

    Raises:
        CheckpointError: the file has other parameters than those that learn now.
    """
    tensors = load_file(path)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if learning != tensors.keys():
        odd = sorted(learning ^ tensors.keys())
        raise CheckpointError(f"{path} holds other parameters than learn now: {', '.join(odd[:5])} ...")
    return tensors
