"""Rounds apart: one row gives what the conversations give one by one."""

from __future__ import annotations

import pytest
import torch
from tests.model.conftest import LANGUAGE_MODEL, noise

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.render import Rendered, RenderedRegion
from mustela.data.rounds_apart import rounds_apart
from mustela.errors import ConfigError
from mustela.regions import Box

BOXES = [Box(2, 3, 20, 30), Box(25, 1, 40, 22)]


def conversation(*, system: bool = False) -> Rendered:
    messages = [
        Message("user", (Slot.IMAGE, "\n", "What is ", Slot.REGION, "?")),
        Message("assistant", ("a red star.",)),
        Message("user", ("Where is the blue circle?",)),
        Message("assistant", ("[1, 2, 3, 4].",)),
        Message("user", ("Is ", Slot.REGION, " this?")),
        Message("assistant", ("No.",)),
    ]
    if system:
        messages.insert(0, Message("system", ("Name it.",)))
    return Rendered("record", tuple(messages), tuple(map(RenderedRegion, BOXES)))


def gradients(model, batch):
    model.zero_grad()
    loss = model.train()(**batch).loss
    loss.backward()
    model.eval()
    grown = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return loss.detach(), grown


@pytest.mark.usefixtures("in_sdpa")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_row_of_rounds_equals_the_conversations_one_by_one(classic_pair, attention):
    pair = classic_pair
    pair.model.set_attn_implementation(attention)
    picture = noise(0)
    row = pair.processor.encode(conversation(system=True), [picture], separate_rounds=True)
    alone = [pair.processor.encode(one, [picture]) for one in rounds_apart(conversation(system=True))]
    assert len(alone) == 3
    assert len(row["input_ids"]) < sum(len(one["input_ids"]) for one in alone) * 0.6
    items = sum(int((one["labels"] != IGNORE_INDEX).sum()) for one in alone)
    assert int((row["labels"] != IGNORE_INDEX).sum()) == items
    together = gradients(pair.model, pair.batch([row, pair.sample("Name it.", answer="No.")]))
    apart = gradients(pair.model, pair.batch([*alone, pair.sample("Name it.", answer="No.")]))
    torch.testing.assert_close(together[0], apart[0], rtol=1e-5, atol=1e-6)
    assert together[1].keys() == apart[1].keys()
    for name, gradient in together[1].items():
        torch.testing.assert_close(gradient, apart[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["qwen3", "gemma2"])
def test_layers_with_a_window(scratch, kind):
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "head_dim": 16}
    more = {"use_sliding_window": True, "max_window_layers": 1} if kind == "qwen3" else {}
    pair = scratch(language_model={**LANGUAGE_MODEL, "model_type": kind, **layers, **more})
    row = pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    alone = [pair.processor.encode(one, [noise(0)]) for one in rounds_apart(conversation())]
    together, apart = gradients(pair.model, pair.batch([row])), gradients(pair.model, pair.batch(alone))
    torch.testing.assert_close(together[0], apart[0], rtol=1e-5, atol=1e-6)
    full = scratch(
        language_model={**LANGUAGE_MODEL, "model_type": kind, **layers, "sliding_window": 512, **more}
    )
    full.model.load_state_dict(pair.model.state_dict())
    assert not torch.isclose(full.model(**full.batch([row])).loss, together[0], rtol=1e-4)


def test_segments_and_positions(classic_pair):
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    (documents, segments), positions = row["segments"].unbind(-1), row["position_ids"]
    assert not documents.any()
    shared = int((segments == 0).sum())
    assert set(segments.tolist()) == {0, 1, 2, 3}
    assert positions[:shared].tolist() == list(range(shared))
    for number in (1, 2, 3):
        own = positions[segments == number].tolist()
        assert own == list(range(shared, shared + len(own)))
    assert (row["labels"][segments == 0] == IGNORE_INDEX).all()
    assert (row["input_ids"] == classic_pair.processor.image_token_id)[segments == 0].sum() == 16


def test_regions_keep_the_order_of_the_text(classic_pair):
    whole = classic_pair.processor.encode(conversation(), [noise(0)])
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    assert torch.equal(whole["region_points"], row["region_points"])


def test_rounds_that_do_not_fit_go_with_their_regions(classic_pair):
    whole = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    limit = int((whole["segments"][:, 1] <= 2).sum()) + 3
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True, max_length=limit)
    assert len(row["input_ids"]) <= limit
    assert len(row["region_points"]) == 1
    assert set(row["segments"][:, 1].tolist()) == {0, 1, 2}


def test_one_round_and_generation_are_as_ever(classic_pair):
    rendered = Rendered("record", conversation().messages[:2], conversation().regions[:1])
    row = classic_pair.processor.encode(rendered, [noise(0)], separate_rounds=True)
    assert "segments" not in row
    question = Rendered("record", conversation().messages[:1], conversation().regions[:1])
    assert "segments" not in classic_pair.processor.encode(
        question, [noise(0)], separate_rounds=True, generation=True
    )


def test_pictures_between_rounds_keep_a_conversation_whole():
    first = conversation().messages[:2]
    second = Message("user", (Slot.IMAGE, "Name it.")), Message("assistant", ("No.",))
    rendered = Rendered("record", (*first, *second), conversation().regions[:1])
    assert rounds_apart(rendered) == [rendered]


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_attention_without_a_mask_of_its_own_is_refused(classic_pair, monkeypatch, attention):
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    config = classic_pair.model.base.config.get_text_config()
    monkeypatch.setattr(config, "_attn_implementation", attention)
    with pytest.raises(ConfigError, match="separate_rounds needs attn_implementation sdpa or eager"):
        classic_pair.model(**classic_pair.batch([row]))


def test_a_base_with_positions_of_its_own_is_refused(qwen_pair):
    row = qwen_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    with pytest.raises(ConfigError, match=r"the base is of type qwen3_vl.*Leave it out"):
        qwen_pair.model(**qwen_pair.batch([row]))
