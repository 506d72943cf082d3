"""Putting a model into evaluation mode for a while, without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode.

    Afterwards every module's mode and torch's random state are as before.
    """
    training = {module: module.training for module in model.modules()}
    devices = {parameter.device.index or 0 for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        model.eval()
        try:
            yield
        finally:
            # Not model.train(): parts that are frozen may have been in evaluation mode during training.
            for module, mode in training.items():
                module.training = mode
