"""Joining samples: padding, masks from lengths, and images numbered over the batch."""

from __future__ import annotations

import pickle

import pytest
import torch

from mustela.constants import IGNORE_INDEX
from mustela.data.collator import Collator, collate

PAD = 7


def sample(*ids: int, images: int = 0, regions: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    made = {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(ids),
        "num_images": torch.tensor(images),
    }
    if images:
        made["pixel_values"] = torch.full((images, 3, 2, 2), float(ids[0]))
    if regions:
        made["region_points"] = torch.full((len(regions), 4, 2), float(ids[0]))
        made["region_image"] = torch.tensor(regions)
    return made


def test_sides_of_padding():
    samples = [sample(1, 2, 3), sample(4)]
    right = collate(samples, pad_token_id=PAD)
    assert right["input_ids"].tolist() == [[1, 2, 3], [4, PAD, PAD]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert right["labels"].tolist() == [[1, 2, 3], [4, IGNORE_INDEX, IGNORE_INDEX]]
    left = collate(samples, pad_token_id=PAD, padding_side="left")
    assert left["input_ids"].tolist() == [[1, 2, 3], [PAD, PAD, 4]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left["labels"].tolist() == [[1, 2, 3], [IGNORE_INDEX, IGNORE_INDEX, 4]]
    assert {value.dtype for value in left.values()} == {torch.long}


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_end_token_that_also_pads_keeps_its_label_and_attention(side):
    # Two rounds, each ended by the token that pads.
    samples = [sample(1, PAD, 2, PAD), sample(3, PAD)]
    batch = collate(samples, pad_token_id=PAD, padding_side=side)
    assert batch["attention_mask"].sum(1).tolist() == [4, 2]
    for row, each in enumerate(samples):
        there = batch["attention_mask"][row].bool()
        assert torch.equal(batch["labels"][row][there], each["labels"])
        assert batch["labels"][row][there][-1] == PAD
        assert (batch["labels"][row][~there] == IGNORE_INDEX).all()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)], ids=str)
def test_regions_keep_their_pictures_in_any_mixture(order):
    kinds = [
        sample(1),
        sample(2, 2, images=1),
        sample(3, images=2, regions=(1, 0)),
        sample(4, images=1, regions=(0,)),
    ]
    samples = [kinds[index] for index in order]
    batch = collate(samples, pad_token_id=PAD)
    owner = batch["pixel_values"][:, 0, 0, 0].tolist()
    assert owner == [
        float(kinds[i]["input_ids"][0]) for i in order for _ in range(int(kinds[i]["num_images"]))
    ]
    for points, image in zip(batch["region_points"], batch["region_image"].tolist(), strict=True):
        assert owner[image] == points[0, 0]
    first = owner.index(3.0)
    assert [i for i in batch["region_image"].tolist() if owner[i] == 3.0] == [first + 1, first]


def test_keys_that_no_sample_has_are_left_out():
    batch = collate([sample(1), sample(2)], pad_token_id=PAD)
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert "pixel_values" in collate([sample(1), sample(2, images=1)], pad_token_id=PAD)


def test_weights_and_types_are_padded_with_zero():
    samples = [sample(1, 2), sample(3)]
    for each in samples:
        each["label_weights"] = torch.full(each["labels"].shape, 0.5)
        each["mm_token_type_ids"] = torch.ones_like(each["labels"])
    batch = collate(samples, pad_token_id=PAD)
    assert batch["label_weights"].tolist() == [[0.5, 0.5], [0.5, 0.0]]
    assert batch["mm_token_type_ids"].tolist() == [[1, 1], [1, 0]]


def test_the_collator_goes_to_workers():
    collator = pickle.loads(pickle.dumps(Collator(PAD, "left")))
    assert collator([sample(1, 2), sample(3)])["input_ids"].tolist() == [[1, 2], [PAD, 3]]
