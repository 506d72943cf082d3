"""Generation: with and without a cache, in batches, by beams, from pictures that were encoded before."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from mustela.data.message import Slot
from mustela.regions import Box


def picture():
    return Image.linear_gradient("L").resize((48, 40)).convert("RGB")


def prompts(pair):
    return pair.four(generation=True)


def test_cached_equals_uncached(pair):
    batch = pair.batch(prompts(pair), "left")
    assert pair.answers(batch, use_cache=True) == pair.answers(batch, use_cache=False)


def test_a_batch_equals_one_by_one(pair):
    samples = prompts(pair)
    together = pair.answers(pair.batch(samples, "left"))
    assert together == [pair.answers(pair.batch([sample], "left"))[0] for sample in samples]
    assert len({tuple(answer) for answer in together}) == 4


def test_answers_depend_on_the_region(pair):
    logits = []
    for box in (Box(0, 0, 20, 20), Box(24, 16, 48, 40)):
        sample = pair.sample("What is ", Slot.REGION, "?", Slot.IMAGE, images=[picture()], regions=[box])
        with torch.no_grad():
            logits.append(pair.model(**pair.batch([sample])).logits)
    assert not torch.allclose(*logits, atol=1e-3)


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 2, "use_cache": False}], ids=str)
def test_beams(pair, options):
    samples = prompts(pair)
    together = pair.answers(pair.batch(samples, "left"), **options)
    assert together == [pair.answers(pair.batch([sample], "left"), **options)[0] for sample in samples]


def test_several_answers_to_each_question(pair):
    samples = prompts(pair)
    options = {"num_beams": 3, "num_return_sequences": 2}
    together = pair.answers(pair.batch(samples, "left"), **options)
    single = [
        answer for sample in samples for answer in pair.answers(pair.batch([sample], "left"), **options)
    ]
    assert together == single
    assert len(together) == 8


def test_samples_drawn_at_once_are_of_the_same_question(pair):
    batch = pair.batch(prompts(pair)[3:], "left")
    greedy = pair.answers(batch)
    # So cold that all draws are the likeliest token.
    drawn = pair.answers(batch, do_sample=True, temperature=1e-4, num_return_sequences=3)
    assert drawn == greedy * 3


def test_the_same_request_twice_is_the_same_to_the_bit(pair):
    batch = pair.batch(prompts(pair), "left")
    with torch.no_grad():
        first = pair.model(**batch).logits
        pair.model(**pair.batch(pair.four()[:2]))
        assert torch.equal(first, pair.model(**batch).logits)


def test_pictures_encoded_once_serve_many_questions(pair, monkeypatch):
    samples = [
        pair.sample(Slot.IMAGE, *rest, images=[picture()], regions=regions, generation=True)
        for rest, regions in (
            (("What is this?",), ()),
            (("What is ", Slot.REGION, "?"), [Box(3, 4, 20, 30)]),
            ((Slot.REGION, " and ", Slot.REGION, "?"), [Box(3, 4, 20, 30), Box(22, 4, 40, 30)]),
        )
    ]
    direct = [pair.answers(pair.batch([sample], "left")) for sample in samples]
    names = pair.model.family.image_inputs
    features = pair.model.encode_images(**{name: samples[0][name] for name in names})
    monkeypatch.setattr(
        type(pair.model.base.model),
        "get_image_features",
        lambda *_, **__: pytest.fail("encoded a second time"),
    )
    for sample, expected in zip(samples, direct, strict=True):
        batch = pair.batch([sample], "left")
        del batch["pixel_values"]
        assert pair.answers(batch, image_features=features) == expected
    together = pair.batch(samples, "left")
    del together["pixel_values"]
    answers = pair.answers(together, image_features=features.select([0, 0, 0]))
    assert answers == [each[0] for each in direct]


def test_selected_pictures_keep_their_order(pair):
    samples = pair.four()[1:]
    names = pair.model.family.image_inputs
    batch = pair.batch(samples)
    features = pair.model.encode_images(**{name: batch[name] for name in names})
    turned = pair.batch([samples[2], samples[0]])
    expected = pair.model(**turned).loss
    del turned["pixel_values"]
    torch.testing.assert_close(pair.model(**turned, image_features=features.select([2, 0])).loss, expected)


def test_region_tokens_are_never_written(pair):
    batch = pair.batch(prompts(pair), "left")
    region = pair.model.config.region_token_id
    head = pair.model.get_output_embeddings()
    handle = head.register_forward_hook(
        lambda _, __, logits: logits.index_fill(-1, torch.tensor([region]), 1e4)
    )
    try:
        assert all(region not in answer for answer in pair.answers(batch))
    finally:
        handle.remove()
