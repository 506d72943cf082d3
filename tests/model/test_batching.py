"""A batch is its samples: in any order, padded on either side, with and without pictures and regions."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from PIL import Image
from torch.nn import functional

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Slot
from mustela.errors import CountMismatchError
from mustela.model.loss import supervised_loss
from mustela.regions import Box


def sum_and_count(pair, batch):
    """Return the summed loss of a batch and its number of labels."""
    with torch.no_grad():
        return float(pair.model(**batch, num_items_in_batch=1).loss), int(
            (batch["labels"] != IGNORE_INDEX).sum()
        )


def logits_by_sample(pair, batch):
    """Return the logits of each row at its labels."""
    with torch.no_grad():
        logits = pair.model(**batch).logits
    return logits.split((batch["labels"] != IGNORE_INDEX).sum(1).tolist())


def test_each_sample_is_the_same_alone_and_in_every_mixture(pair):
    samples = pair.four()
    alone = [logits_by_sample(pair, pair.batch([sample]))[0] for sample in samples]
    assert len({logits.sum().item() for logits in alone}) == 4
    for order in permutations(range(4)):
        batch = pair.batch([samples[index] for index in order])
        for index, logits in zip(order, logits_by_sample(pair, batch), strict=True):
            torch.testing.assert_close(logits, alone[index], atol=1e-4, rtol=1e-4)


def test_left_padding_equals_right_padding(pair):
    samples = pair.four()
    right, left = (pair.batch(samples, side) for side in ("right", "left"))
    assert not torch.equal(right["input_ids"], left["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(pair.model(**right).loss, pair.model(**left).loss, atol=1e-5, rtol=1e-5)


def test_loss_is_the_cross_entropy_of_all_logits(pair):
    batch = pair.batch(pair.four())
    with torch.no_grad():
        loss = pair.model(**batch).loss
        labels = batch.pop("labels")
        logits = pair.model(**batch).logits
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(loss, expected)


def test_weights_of_labels(pair):
    batch = pair.batch(pair.four())
    plain = pair.model(**batch).loss
    torch.testing.assert_close(
        pair.model(**batch, label_weights=torch.full(batch["labels"].shape, 0.5)).loss, plain / 2
    )


def test_gradients_do_not_depend_on_the_split_into_micro_batches(pair):
    samples = pair.four()
    whole = pair.batch(samples)
    items = (whole["labels"] != IGNORE_INDEX).sum()
    gradients = []
    for batches in ([whole], [pair.batch(samples[:1]), pair.batch(samples[1:])]):
        pair.model.zero_grad(set_to_none=True)
        loss = sum(pair.model(**batch, num_items_in_batch=items).loss for batch in batches)
        loss.backward()
        gradients.append(
            {name: p.grad.clone() for name, p in pair.model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    scale = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient / scale, gradients[1][name] / scale, atol=1e-5, rtol=1e-4)


def test_tokens_weigh_the_same_in_every_micro_batch():
    """2 tokens with a mean of 4 and 8 with a mean of 1 make 1.6, not 2.5."""

    def logits(loss: float, count: int) -> torch.Tensor:
        # Of two classes, the first has a probability of exp(-loss).
        probability = torch.tensor(-loss).exp()
        return torch.stack([probability.log(), (1 - probability).log()]).expand(count, 2)

    losses = [
        supervised_loss(logits(mean, n), torch.zeros(n).long(), items=10) for mean, n in ((4.0, 2), (1.0, 8))
    ]
    assert sum(losses).item() == pytest.approx(1.6, abs=1e-5)


def test_a_sample_without_labels_leaves_the_loss_of_the_others_as_it_is(pair):
    samples = pair.four()
    nothing = {**samples[1], "labels": torch.full_like(samples[1]["labels"], IGNORE_INDEX)}
    with torch.no_grad():
        alone = pair.model(**pair.batch(samples[2:3])).loss
        both = pair.model(**pair.batch([nothing, samples[2]])).loss
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("items", [None, 0, torch.tensor(0)], ids=["own", "zero", "zero-tensor"])
def test_no_label_gives_a_loss_of_zero_with_zero_gradients(pair, items):
    batch = pair.batch(pair.four())
    batch["labels"].fill_(IGNORE_INDEX)
    loss = pair.model(**batch, num_items_in_batch=items).loss
    assert loss.item() == 0
    loss.backward()
    gradients = [p.grad for p in pair.model.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)


def test_a_batch_without_regions_gives_the_region_encoder_zero_gradients(pair):
    for samples in (pair.four()[:1], pair.four()[:2]):
        pair.model.zero_grad(set_to_none=True)
        pair.model(**pair.batch(samples)).loss.backward()
        for parameter in pair.model.region_encoder.parameters():
            assert parameter.grad is not None
            assert not parameter.grad.any()


def test_region_features_follow_the_order_of_the_text(pair):
    sample = pair.four()[3]
    placed = []
    with torch.no_grad():
        features = pair.model.encode_images(**{name: sample[name] for name in pair.model.family.image_inputs})
        regions = pair.model.encode_regions(features, sample["region_points"], sample["region_image"])
        embedding = pair.model.get_input_embeddings()
        handle = pair.model.base.model.language_model.register_forward_pre_hook(
            lambda _, __, kwargs: placed.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        pair.model(**pair.batch([sample]))
        handle.remove()
        assert not torch.equal(regions[0], regions[1])
        is_region = sample["input_ids"] == pair.model.config.region_token_id
        torch.testing.assert_close(placed[0][0][is_region], regions)
        text = ~is_region & (sample["input_ids"] != pair.processor.image_token_id)
        torch.testing.assert_close(placed[0][0][text], embedding(sample["input_ids"])[text])
    assert not embedding._forward_hooks


@pytest.mark.parametrize("given", [1, 2, 4])
def test_counts_of_regions_that_disagree_are_named(pair, given):
    batch = pair.batch([pair.four()[3]])
    batch["region_points"] = batch["region_points"][:1].expand(given, -1, -1)
    batch["region_image"] = torch.zeros(given, dtype=torch.long)
    with pytest.raises(CountMismatchError, match=f"3 region tokens but {given} regions"):
        pair.model(**batch)


def test_a_region_without_an_image_index_is_named(pair):
    batch = pair.batch([pair.four()[3]])
    batch["region_image"] = batch["region_image"][:2]
    with pytest.raises(CountMismatchError, match="3 regions have points but 2 have an image index"):
        pair.model(**batch)


def test_a_region_in_a_missing_image_is_named(pair):
    batch = pair.batch([pair.four()[2]])
    batch["region_image"] += 1
    with pytest.raises(CountMismatchError, match="image 1, but the batch has 1 images"):
        pair.model(**batch)


def test_counts_of_image_tokens_that_disagree_are_named(pair):
    batch = pair.batch([pair.four()[2]])
    kept = batch["input_ids"][0] != pair.processor.image_token_id
    first = int((~kept).nonzero()[0])
    kept[:] = True
    kept[first] = False
    for name in ("input_ids", "labels", "attention_mask", "mm_token_type_ids"):
        if name in batch:
            batch[name] = batch[name][:, kept]
    tokens = int((batch["input_ids"] == pair.processor.image_token_id).sum())
    with pytest.raises(CountMismatchError, match=f"{tokens} image tokens.*{tokens + 1}"):
        pair.model(**batch)


def test_several_images_in_one_sample(pair):
    pictures = [Image.new("RGB", (48, 40), "red"), Image.new("RGB", (40, 40), "blue")]
    parts = (Slot.IMAGE, "and ", Slot.IMAGE, " ", Slot.REGION, "?")
    logits = []
    for image in (0, 1):
        sample = pair.sample(*parts, images=pictures, regions=[(Box(1, 1, 30, 30), image)])
        assert sample["num_images"] == 2
        logits.append(logits_by_sample(pair, pair.batch([sample]))[0])
        # Behind another sample, its pictures have other numbers.
        mixed = logits_by_sample(pair, pair.batch([pair.four()[2], sample]))[1]
        torch.testing.assert_close(mixed, logits[-1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)


def test_the_sum_of_losses_adds_up(pair):
    samples = pair.four()
    sums = [sum_and_count(pair, pair.batch([sample])) for sample in samples]
    total, count = sum_and_count(pair, pair.batch(samples))
    assert total == pytest.approx(sum(each[0] for each in sums), rel=1e-5)
    assert count == sum(each[1] for each in sums)


def test_a_smoothed_loss_is_partly_the_mean_over_the_vocabulary() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    targets, weights = torch.tensor([0, 6, 3, 3, 1]), torch.tensor([1.0, 0.5, 0.0, 1.0, 2.0])
    logged = logits.log_softmax(-1)
    sharp = -logged[torch.arange(5), targets]
    expected = ((0.9 * sharp - 0.1 * logged.mean(-1)) * weights).sum() / 5
    torch.testing.assert_close(
        supervised_loss(logits, targets, weights_L=weights, smoothing=0.1, items=5), expected
    )
