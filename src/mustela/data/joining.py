"""Joining the tensors of several pictures to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def join_pictures(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along their first dimension.

    Others are filled up with zeros at their ends to the largest: pictures of other sizes or numbers of tiles,
    whose own sizes the base is told.
    """
    largest = [max(sides) for sides in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    filled = []
    for tensor in tensors:
        missing = [side - own for side, own in zip(largest, tensor.shape[1:], strict=True)]
        # Pairs of (before, after), the last dimension first.
        margins = [margin for more in reversed(missing) for margin in (0, more)]
        filled.append(functional.pad(tensor, margins) if any(missing) else tensor)
    return torch.cat(filled)
