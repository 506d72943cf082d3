"""Packing: rows of several samples give what the samples give one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.model.conftest import LANGUAGE_MODEL, noise
from tests.model.test_separate_rounds import conversation, gradients

from mustela.constants import IGNORE_INDEX
from mustela.data.collator import join_samples
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.model import modeling
from mustela.model.visibility import check_takes_segments, flatten_rows


def packed(pair):
    """Four samples as two rows, and the same one by one."""
    samples = pair.four()
    return [join_samples(samples[:3]), join_samples(samples[3:])], samples


def same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-6)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("in_sdpa")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_equal_the_samples_one_by_one(classic_pair, attention):
    classic_pair.model.set_attn_implementation(attention)
    rows, samples = packed(classic_pair)
    together = gradients(classic_pair.model, classic_pair.batch(rows))
    same(together, gradients(classic_pair.model, classic_pair.batch(samples)))


def test_logits_of_each_sample_are_its_own(classic_pair):
    rows, samples = packed(classic_pair)
    together = classic_pair.model(**classic_pair.batch(rows)).logits
    alone = [classic_pair.model(**classic_pair.batch([sample])).logits for sample in samples]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    # They would see each other without segments.
    mixed = classic_pair.batch(rows)
    mixed.pop("segments")
    assert not torch.allclose(classic_pair.model(**mixed).logits, together, rtol=1e-3)


def test_rounds_apart_share_a_row_with_others(classic_pair):
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    others = classic_pair.four()
    joined = join_samples([others[2], row, others[0]])
    assert set(map(tuple, joined["segments"].tolist())) == {(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)}
    together = gradients(classic_pair.model, classic_pair.batch([joined, others[3]]))
    same(together, gradients(classic_pair.model, classic_pair.batch([others[2], row, others[0], others[3]])))


def test_a_window_ends_with_its_document(scratch):
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "head_dim": 16}
    more = {"use_sliding_window": True, "max_window_layers": 1}
    pair = scratch(language_model={**LANGUAGE_MODEL, "model_type": "qwen3", **layers, **more})
    rows, samples = packed(pair)
    same(gradients(pair.model, pair.batch(rows)), gradients(pair.model, pair.batch(samples)))


def test_no_label_leads_from_one_sample_to_the_next(classic_pair):
    first, second = classic_pair.four()[:2]
    second = {**second, "labels": second["input_ids"].clone()}
    row = join_samples([first, second])
    start = len(first["input_ids"])
    assert row["labels"][start] == IGNORE_INDEX
    assert (row["labels"][start + 1 :] != IGNORE_INDEX).all()
    assert int((row["labels"] != IGNORE_INDEX).sum()) == sum(
        int((sample["labels"][1:] != IGNORE_INDEX).sum()) for sample in (first, second)
    )


def test_rows_behind_one_another_equal_the_samples(classic_pair, monkeypatch):
    """What attention of varying lengths is given, here with masks that transformers makes of positions."""
    rows, samples = packed(classic_pair)
    batch = classic_pair.batch(rows)
    assert not batch["attention_mask"].all()
    shapes = []
    with monkeypatch.context() as patch:
        patch.setattr(modeling, "is_varlen", lambda base: True)
        handle = classic_pair.model.base.model.language_model.register_forward_pre_hook(
            lambda _, args, inputs: shapes.append((inputs["inputs_embeds"].shape, inputs["attention_mask"])),
            with_kwargs=True,
        )
        flat = gradients(classic_pair.model, batch)
        handle.remove()
    assert shapes == [((1, sum(len(sample["input_ids"]) for sample in samples), 32), None)]
    same(flat, gradients(classic_pair.model, classic_pair.batch(samples)))


def test_rounds_apart_need_a_mask(classic_pair):
    row = classic_pair.processor.encode(conversation(), [noise(0)], separate_rounds=True)
    batch = classic_pair.batch([row])
    with pytest.raises(ConfigError, match="separate_rounds needs attn_implementation sdpa or eager"):
        flatten_rows(batch["segments"], batch["attention_mask"], {})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"attention": "flex_attention"}, "packing needs attn_implementation sdpa, eager or flash"),
        ({"layers": ["linear_attention", "full_attention"]}, "layers of kind linear_attention"),
    ],
)
def test_what_cannot_keep_conversations_apart_is_refused(classic_pair, monkeypatch, settings, told):
    config = classic_pair.model.base.config.get_text_config()
    monkeypatch.setattr(config, "_attn_implementation", settings.get("attention", "sdpa"))
    monkeypatch.setattr(config, "layer_types", settings.get("layers", ["full_attention"] * 2), raising=False)
    with pytest.raises(ConfigError, match=told):
        check_takes_segments(classic_pair.model.base, branches=False)


def test_attention_of_varying_lengths_takes_documents_and_no_branches(classic_pair, monkeypatch):
    config = classic_pair.model.base.config.get_text_config()
    monkeypatch.setattr(config, "_attn_implementation", "flash_attention_2")
    check_takes_segments(classic_pair.model.base, branches=False)
    with pytest.raises(ConfigError, match="separate_rounds needs"):
        check_takes_segments(classic_pair.model.base, branches=True)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("aspect", ["square_nocrop", "pad", "anyres"])
def test_tokens_are_counted_without_the_picture(classic_pair, apart, aspect):
    own = classic_pair.processor
    grids = ((1, 2), (2, 1), (2, 2))
    settings = replace(own.settings, image_aspect_ratio=aspect, image_grids=grids)
    processor = MustelaProcessor(own.base_processor, own.template, settings)
    picture = noise(0, (64, 30))
    encoded = processor.encode(conversation(), [picture], separate_rounds=apart)
    counted = processor.count_tokens(conversation(), [picture.size], separate_rounds=apart)
    assert counted == len(encoded["input_ids"])


def test_tokens_of_a_base_that_fits_pictures_itself_are_not_counted(qwen_pair):
    with pytest.raises(ConfigError, match="packing and cache_vision_features need"):
        qwen_pair.processor.count_tokens(conversation(), [(48, 40)])
