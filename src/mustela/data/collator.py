"""Joining samples to a batch: padding, one table of pictures, one of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate, get_worker_info

from mustela.constants import IGNORE_INDEX
from mustela.data.joining import join_pictures

# What padding holds in each sequence of a sample; input_ids take the tokenizer's padding token.
_PADDING = {
    "labels": float(IGNORE_INDEX),
    "label_weights": 0.0,
    "mm_token_type_ids": 0.0,
    "token_type_ids": 0.0,
}


def collate(
    samples: Sequence[Mapping[str, Tensor]],
    *,
    pad_token_id: int,
    padding_side: Literal["left", "right"] = "right",
) -> dict[str, Tensor]:
    """Join samples to a batch.

    Args:
        samples: from `mustela.data.processor.MustelaProcessor.encode`, in any mixture of text, pictures and
            regions.
        pad_token_id: id that pads `input_ids`; the attention mask comes from lengths, so it may be any token.
        padding_side: `right` for training, `left` for generation.

    Returns:
        `input_ids`, `attention_mask` (and `labels`, ...) `(B, T)`; `region_points (R, P, 2)` and
        `region_image (R,)`, indices into all pictures of the batch; the pictures' tensors joined along their
        first dimension. Keys that no sample has are left out.
    """
    batch: dict[str, Tensor] = {}

    def pad(name: str, value: float) -> Tensor:
        return pad_sequence(
            [sample[name] for sample in samples],
            batch_first=True,
            padding_value=value,
            padding_side=padding_side,
        )

    batch["input_ids"] = pad("input_ids", pad_token_id)
    batch["attention_mask"] = pad_sequence(
        [torch.ones_like(sample["input_ids"]) for sample in samples],
        batch_first=True,
        padding_side=padding_side,
    )
    for name, value in _PADDING.items():
        if name in samples[0]:
            batch[name] = pad(name, value)
    if any("segments" in sample for sample in samples):
        samples = [with_segments(sample) for sample in samples]
        batch["segments"] = pad("segments", -1.0)
        batch["position_ids"] = pad("position_ids", 0.0)
    pictures = [int(sample["num_images"]) for sample in samples]
    with_regions = [index for index, sample in enumerate(samples) if "region_points" in sample]
    if with_regions:
        batch["region_points"] = torch.cat([samples[index]["region_points"] for index in with_regions])
        batch["region_image"] = torch.cat(
            [samples[index]["region_image"] + sum(pictures[:index]) for index in with_regions]
        )
    done = {"num_images", "region_points", "region_image", *batch}
    for name in {name for sample in samples for name in sample} - done:
        batch[name] = _join([sample[name] for sample in samples if name in sample])
    return batch


def _join(tensors: Sequence[Tensor]) -> Tensor:
    if get_worker_info() is not None and all(each.shape == (1, *tensors[0].shape[1:]) for each in tensors):
        # In a loader's worker torch writes these where the trainer will read them.
        joined: Tensor = default_collate([each[0] for each in tensors])
        return joined
    return join_pictures(tensors)


def with_segments(sample: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a sample with the segments and positions that it has without saying so."""
    if "segments" in sample:
        return sample
    ids = sample["input_ids"]
    whole = {"segments": ids.new_zeros(len(ids), 2), "position_ids": torch.arange(len(ids))}
    return {**sample, **whole}


def join_samples(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Put samples behind one another into one row, each a document of its own.

    Args:
        samples: as for `collate`.

    Returns:
        One sample of all their tokens, pictures and regions, with `segments` and `position_ids`, see
        `mustela.model.visibility`; what a document begins with has no label, as nothing comes before it.
    """
    documents: list[dict[str, Tensor]] = []
    for number, sample in enumerate(map(with_segments, samples)):
        labels = sample["labels"].clone()
        labels[:1] = IGNORE_INDEX
        segments = torch.stack([torch.full_like(labels, number), sample["segments"][:, 1]], dim=-1)
        documents.append({**sample, "labels": labels, "segments": segments})
    pictures = [int(sample["num_images"]) for sample in documents]
    for sample, before in zip(documents, accumulate(pictures, initial=0), strict=False):
        if "region_image" in sample:
            sample["region_image"] = sample["region_image"] + before
    names = dict.fromkeys(name for sample in documents for name in sample if name != "num_images")
    row = {name: torch.cat([sample[name] for sample in documents if name in sample]) for name in names}
    return {**row, "num_images": torch.tensor(sum(pictures))}


@dataclass(frozen=True)
class Collator:
    """`collate` with its settings, as a DataLoader takes it."""

    pad_token_id: int
    padding_side: Literal["left", "right"] = "right"

    def __call__(self, samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join samples to a batch."""
        return collate(samples, pad_token_id=self.pad_token_id, padding_side=self.padding_side)
