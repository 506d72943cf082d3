"""Rounds apart: each round of a conversation on its own, in one row behind the pictures that all share.

Questions about one picture seldom need each other, and where an earlier answer gives a place away, they
mustn't see each other. A row of them encodes the picture once, in the vision tower and in the language model;
`segments` says what may see what, see `mustela.model.visibility`.

Shape legend: T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot, split_rounds
from mustela.data.render import Rendered

_SEQUENCES = ("input_ids", "labels", "label_weights")


def rounds_apart(rendered: Rendered) -> list[Rendered]:
    """Return each answered round as a conversation of its own, with the system's text and all pictures.

    Pictures that don't all open the first question can't be shared: the conversation is returned whole.
    """
    system, rounds = split_rounds(rendered.messages)
    opening = _opening(rounds[0].question)
    pictures = sum(message.count(Slot.IMAGE) for message in rendered.messages)
    if len(rounds) < 2 or sum(part is Slot.IMAGE for part in opening) != pictures:
        return [rendered]
    head = () if system is None else (system,)
    regions = iter(rendered.regions)
    apart = []
    for number, one in enumerate(rounds):
        own = tuple(islice(regions, sum(message.count(Slot.REGION) for message in one.messages)))
        question, *answer = one.messages
        if number:
            question = replace(question, parts=(*opening, *question.parts))
        if answer:
            apart.append(Rendered(rendered.record_id, (*head, question, *answer), own))
    return apart


def _opening(message: Message) -> tuple[str | Slot, ...]:
    """Return the pictures at the start of a question, with the blanks that set them off."""
    opening: list[str | Slot] = []
    for part in message.parts:
        if part is Slot.IMAGE:
            opening.append(part)
        elif isinstance(part, str) and opening:
            blank = part[: len(part) - len(part.lstrip())]
            opening.append(blank)
            if blank != part:
                break
        else:
            break
    return tuple(part for part in opening if part)


def join_rounds(
    samples: Sequence[Mapping[str, Tensor]], *, region_token_id: int | None, max_length: int | None = None
) -> tuple[dict[str, Tensor], int]:
    """Put rounds that begin alike into one row.

    Args:
        samples: `input_ids` and `labels` (and `label_weights`) `(T,)` of each round, pictures expanded.
        region_token_id: what regions are read at; they are never shared.
        max_length: ids that the row may have; the first round is always kept, of the others as many as fit.

    Returns:
        The same for the row, with `segments (T, 2)`, see `mustela.model.visibility`: one document, in which
        branch 0 is what all share and 1, 2, ... are the rounds; and `position_ids (T,)`, where each round
        goes on from what all share; and how many rounds it holds.
    """
    shared = _shared_length(samples, region_token_id)
    ends = torch.tensor([len(sample["input_ids"]) - shared for sample in samples]).cumsum(0) + shared
    count = len(samples) if max_length is None else max(1, int((ends <= max_length).sum()))
    samples = samples[:count]
    row = {
        name: torch.cat([samples[0][name][:shared], *(sample[name][shared:] for sample in samples)])
        for name in _SEQUENCES
        if name in samples[0]
    }
    tails = [torch.arange(shared, len(sample["input_ids"])) for sample in samples]
    row["position_ids"] = torch.cat([torch.arange(shared), *tails])
    lengths = torch.tensor([shared, *map(len, tails)])
    branches = torch.arange(count + 1).repeat_interleave(lengths)
    row["segments"] = torch.stack([torch.zeros_like(branches), branches], dim=-1)
    return row, count


def _shared_length(samples: Sequence[Mapping[str, Tensor]], region_token_id: int | None) -> int:
    shortest = min(len(sample["input_ids"]) for sample in samples)
    ids = torch.stack([sample["input_ids"][:shortest] for sample in samples])
    labels = torch.stack([sample["labels"][:shortest] for sample in samples])
    alike = (ids == ids[0]).all(0) & (labels == IGNORE_INDEX).all(0) & (ids[0] != region_token_id)
    return int(alike.long().cumprod(0).sum())
