"""The processes of torch.distributed that share an evaluation."""

from __future__ import annotations

import torch


def process() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def wait() -> None:
    """Wait for all processes."""
    if process()[1] > 1:
        torch.distributed.barrier()
