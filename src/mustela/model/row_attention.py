"""Attention in rows that hold several conversations, without the work on what a mask would hide.

A row of many short conversations is long, and a mask over all of it costs its length squared, nearly all of
it for pairs that don't see each other. Here each conversation is a batch entry of its own: its tokens ask,
what they share with their siblings and they themselves answer. The numbers are those of the mask.

For CPUs: cards have kernels for masks, and other bottlenecks.

Shape legend: B rows, T tokens, H heads, D width of a head, N runs, L tokens of a run, K keys of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from mustela.model.classic_config import ClassicConfig

NAME = "mustela_rows"
# Runs are padded to the longest of their group, so groups hold runs of about one length.
_SHORTEST = 12
_GROWTH = 1.6


@dataclass(frozen=True)
class _Group:
    """Runs of about one length: what asks and what answers, as numbers of the tokens of all rows.

    Attributes:
        queries: `(N, L)` asking tokens, padded with any.
        keys: `(N, K)` answering tokens, padded with any; the last L are the run itself.
        seen: `(N, 1, L, K)` which key a query sees; padding sees itself.
        kept: the places of the queries that aren't padding, of the flattened `queries`.
    """

    queries: Tensor
    keys: Tensor
    seen: Tensor
    kept: Tensor

    def seen_within(self, window: int, position_ids: Tensor) -> Tensor:
        """Return `seen` but for keys that are `window` positions back or more."""
        distance = position_ids[self.queries][:, :, None] - position_ids[self.keys][:, None, :]
        asked, answering = self.seen.shape[-2:]
        itself = torch.eye(asked, dtype=torch.bool, device=self.seen.device)
        return self.seen & ((distance < window) | functional.pad(itself, (answering - asked, 0)))[:, None]


@dataclass(frozen=True)
class RowLayout:
    """What every layer needs to know of a batch of rows.

    Attributes:
        groups: runs of tokens by length.
        place: where each token of all rows lies in the groups' queries, padding behind them: `(B * T,)`.
        position_ids: place of each token in its conversation, `(B * T,)`.
    """

    groups: tuple[_Group, ...]
    place: Tensor
    position_ids: Tensor

    @classmethod
    def of(cls, attention_mask_BT: Tensor, segments_BT2: Tensor, position_ids_BT: Tensor) -> RowLayout:
        """Lay out a batch.

        Args:
            attention_mask_BT: 0 at padding.
            segments_BT2: document and branch of each token; branch 0 is what a document's others share, and
                comes first.
            position_ids_BT: place of each token in its conversation.
        """
        device = segments_BT2.device
        valid = attention_mask_BT.cpu().numpy().astype(bool).ravel()
        rows, length = attention_mask_BT.shape
        names = np.column_stack(
            [np.repeat(np.arange(rows), length), segments_BT2.cpu().numpy().reshape(-1, 2)]
        )[valid]
        tokens = np.flatnonzero(valid)
        first = np.flatnonzero(np.any(names[1:] != names[:-1], axis=1)) + 1
        starts = np.concatenate([[0], first])
        ends = np.concatenate([first, [len(tokens)]])
        runs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        shared = np.empty(0, dtype=np.int64)
        document: tuple[int, int] | None = None
        for start, end in zip(starts, ends, strict=True):
            own = tokens[start:end]
            row, number, branch = names[start].tolist()
            if document != (row, number):
                document, shared = (row, number), np.empty(0, dtype=np.int64)
            if branch == 0:
                shared = own
            size = max(0, int(np.ceil(np.log(len(own) / _SHORTEST) / np.log(_GROWTH))))
            # What is shared asks alone: groups of one size have keys of about one number.
            before = shared[:0] if branch == 0 else shared
            runs.setdefault(2 * size + (branch == 0), []).append((own, before))
        groups, order = [], []
        for members in runs.values():
            group, places = _group(members, device)
            groups.append(group)
            order.append(places)
        place = np.full(rows * length, len(tokens))
        place[np.concatenate(order)] = np.arange(len(tokens))
        return cls(tuple(groups), torch.from_numpy(place).to(device), position_ids_BT.reshape(-1))

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float | None = None,
        window: int | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Return `(B, T, H, D)` for queries, keys and values `(B, H, T, D)`."""
        batch, heads, length, _ = query.shape
        flat = [each.transpose(1, 2).reshape(batch * length, -1) for each in (query, key, value)]
        answers = []
        for group in self.groups:
            picked = zip(flat, (group.queries, group.keys, group.keys), strict=True)
            asked, keys, values = (_picked(each, index, heads) for each, index in picked)
            seen = group.seen if window is None else group.seen_within(window, self.position_ids)
            scale = asked.shape[-1] ** -0.5 if scale is None else scale
            # By hand: the fused kernel of CPUs takes twice as long where few ask.
            scores = (asked * scale) @ keys.transpose(-1, -2)
            shares = scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(-1)
            answer = functional.dropout(shares, dropout, training=dropout > 0) @ values
            answers.append(answer.transpose(1, 2).flatten(0, 1)[group.kept])
        # The last row is what padding answers.
        answers.append(query.new_zeros(1, heads, value.shape[-1]))
        return torch.cat(answers)[self.place].view(batch, length, heads, -1)


def _picked(flat: Tensor, index: Tensor, heads: int) -> Tensor:
    """Return `(N, heads, L, D)` of tokens `(B * T, heads * D)` by `index (N, L)`.

    Through float32, in which gradients are added up: several times faster than in bfloat16, and exacter.
    """
    rows = flat.float().index_select(0, index.flatten()).to(flat.dtype)
    return rows.view(*index.shape, heads, -1).transpose(1, 2)


def _group(members: list[tuple[np.ndarray, np.ndarray]], device: torch.device) -> tuple[_Group, np.ndarray]:
    longest = max(len(own) for own, _ in members)
    before = max(len(shared) for _, shared in members)
    queries = np.zeros((len(members), longest), dtype=np.int64)
    keys = np.zeros((len(members), before + longest), dtype=np.int64)
    seen = np.zeros((len(members), 1, longest, before + longest), dtype=bool)
    seen[:, :, :, before:] = np.tri(longest, dtype=bool)
    kept = np.zeros((len(members), longest), dtype=bool)
    for number, (own, shared) in enumerate(members):
        queries[number, : len(own)] = own
        keys[number, : len(shared)] = shared
        keys[number, before : before + len(own)] = own
        seen[number, :, :, : len(shared)] = True
        kept[number, : len(own)] = True
    places = queries[kept]
    tensors = (queries, keys, seen, np.flatnonzero(kept))
    return _Group(*(torch.from_numpy(each).to(device) for each in tensors)), places


_LAYOUT: ContextVar[RowLayout | None] = ContextVar("row_layout", default=None)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    layout = _LAYOUT.get()
    if layout is None:
        raise RuntimeError(f"attention {NAME} runs only within `rows_apart`.")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    answer = layout.attend(query, key, value, scale=scaling, window=sliding_window, dropout=dropout)
    return answer, None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def takes_rows(base: PreTrainedModel) -> bool:
    """Say whether a base's attention can be replaced while it works on rows: the composition's, on CPUs.

    Checkpointing repeats layers in the backward pass, when it isn't replaced.
    """
    known = base.config.model_type == ClassicConfig.model_type
    plain = base.config.get_text_config()._attn_implementation == "sdpa"
    if not known or not plain or base.device.type != "cpu" or base.is_activation_checkpointing:
        return False
    # A compiler would stop at every layer; it takes a mask.
    language_model: Any = base.model.language_model
    return language_model._compiled_call_impl is None


@contextmanager
def rows_apart(base: PreTrainedModel, layout: RowLayout | None) -> Iterator[None]:
    """Let the attention of a base's language model keep the conversations of a batch of rows apart.

    Args:
        base: for which `takes_rows`.
        layout: of the batch; None changes nothing.
    """
    if layout is None:
        yield
        return
    config: Any = base.config.get_text_config()
    before, token = config._attn_implementation, _LAYOUT.set(layout)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _LAYOUT.reset(token)
