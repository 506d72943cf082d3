"""Temporary hooks that put region features among the embeddings and the head only where a label is.

Each is a context manager round one call of the base: nothing is kept between calls. They act on the
embedding's output and the head's input, so positions, caches, checkpointing, sharding and quantisation stay
the base's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mustela.errors import CountMismatchError


def region_rows(input_ids: Tensor, token_id: int | None, count: int, *, tokens: int = 1) -> Tensor:
    """Number the region tokens of a batch in order of the text.

    Args:
        input_ids: `(B, T)`.
        token_id: id of the region token; None where the model has none.
        count: number of regions given.
        tokens: region tokens that stand for one region.

    Returns:
        `(B, T)` index of the region feature at each region token, -1 elsewhere.

    Raises:
        CountMismatchError: tokens and features differ in number.
    """
    is_region = (
        (input_ids == token_id) if token_id is not None else torch.zeros_like(input_ids, dtype=torch.bool)
    )
    found = int(is_region.sum())
    if found != count * tokens:
        needs = "one region" if tokens == 1 else f"a region, and each region {tokens} of them"
        raise CountMismatchError(
            f"The batch has {found} region tokens but {count} regions."
            f" Each <region_fea> in the text needs {needs}."
        )
    numbers = is_region.flatten().cumsum(0).view_as(input_ids) - 1
    return torch.where(is_region, numbers, -1)


@contextmanager
def region_embeddings(embedding: nn.Module, rows_BT: Tensor, features_RD: Tensor) -> Iterator[None]:
    """Replace the embeddings of region tokens by region features during one call.

    The embedding may be called again with the new tokens alone (cached generation: left alone), with the
    prompt and new tokens behind it (generation without a cache: the prompt is treated again), or with every
    row repeated (beams, several answers: the features are repeated alike).

    Args:
        embedding: the base's input embedding.
        rows_BT: from `region_rows`.
        features_RD: `(R, D)`; with R = 0 its zero still enters the graph, so that its parameters get
            gradients.
    """

    def place(_: nn.Module, args: tuple[Any, ...], embedded: Tensor) -> Tensor | None:
        ids = args[0]
        length = rows_BT.shape[1]
        if ids.shape[1] < length:
            return None
        if features_RD.shape[0] == 0:
            return embedded + features_RD.sum().to(embedded.dtype)
        rows = rows_BT.repeat_interleave(ids.shape[0] // rows_BT.shape[0], dim=0).to(embedded.device)
        rows = functional.pad(rows, (0, ids.shape[1] - length), value=-1)
        mask = rows >= 0
        placed = features_RD.to(embedded.device, embedded.dtype)[rows[mask]]
        return embedded.masked_scatter(mask[..., None], placed)

    handle = embedding.register_forward_hook(place)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def head_only_at(head: nn.Module, keep_BT: Tensor) -> Iterator[None]:
    """Let the language-model head see only the kept positions during one call, as `(1, kept, D)`.

    What the base does with logits afterwards (scaling, soft-capping) acts on the kept ones.
    """

    def keep(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][keep_BT.to(args[0].device)][None], *args[1:])

    handle = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()
