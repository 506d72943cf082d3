"""Filling the slots of a conversation: counts that must agree, rounds that fit, ids of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mustela.data.message import Slot
from mustela.data.prompt import EncodedPrompt, fit_rounds
from mustela.data.render import Rendered
from mustela.data.rounds import SampleTooLongError
from mustela.errors import CountMismatchError


def check_counts(rendered: Rendered, images: Sequence[object]) -> None:
    """Compare the slots of a conversation with what is to fill them."""
    for slot, what, given in (
        (Slot.IMAGE, "images", len(images)),
        (Slot.REGION, "regions", len(rendered.regions)),
    ):
        slots = sum(message.count(slot) for message in rendered.messages)
        if slots != given:
            raise CountMismatchError(
                f'record "{rendered.record_id}": {slots} {slot.value} slots in the text but {given} {what}.'
            )
    for region in rendered.regions:
        if region.image >= len(images):
            raise CountMismatchError(
                f'record "{rendered.record_id}": a region lies in image {region.image}, but there are'
                f" {len(images)} images, counted from 0."
            )


def fit_with_regions(
    encoded: EncodedPrompt,
    rendered: Rendered,
    image_lengths: Sequence[int],
    max_length: int,
    *,
    region_length: int = 1,
) -> EncodedPrompt:
    """Drop whole last rounds; a region whose picture goes with them makes the sample too long."""
    fitted = fit_rounds(encoded, image_lengths, max_length=max_length, region_length=region_length)
    pictures = len(fitted.image_positions)
    if any(region.image >= pictures for region in rendered.regions[: len(fitted.region_positions)]):
        needed = len(encoded.input_ids) - len(image_lengths) + sum(image_lengths)
        needed += (region_length - 1) * len(encoded.region_positions)
        raise SampleTooLongError(needed=needed, limit=max_length)
    return fitted


def expand_slots(
    encoded: EncodedPrompt,
    expansions: Sequence[Sequence[int]],
    weights: Sequence[float] | None,
    *,
    region_length: int = 1,
) -> dict[str, Tensor]:
    """Put each picture's ids, and each region's tokens, in the place of its slot; they are unsupervised."""
    ids = np.asarray(encoded.input_ids)
    labels = np.asarray(encoded.labels)
    repeats = np.ones(len(ids), dtype=np.int64)
    places = list(encoded.image_positions)
    repeats[places] = [len(expansion) for expansion in expansions]
    repeats[list(encoded.region_positions)] = region_length
    expanded = np.repeat(ids, repeats)
    starts = np.cumsum(repeats) - repeats
    for place, expansion in zip(places, expansions, strict=True):
        expanded[starts[place] : starts[place] + len(expansion)] = expansion
    sample = {"input_ids": torch.from_numpy(expanded), "labels": torch.from_numpy(np.repeat(labels, repeats))}
    if weights is not None:
        sample["label_weights"] = torch.from_numpy(np.repeat(np.asarray(weights, dtype=np.float32), repeats))
    return sample
