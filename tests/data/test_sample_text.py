"""Where PaliGemma's samples begin: behind the pictures of the first question, or with the text."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tests.model.tiny_squares import paligemma

from mustela.data.message import Message, Slot
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.render import Rendered
from mustela.data.templates import get_template

PICTURE = Image.new("RGB", (40, 30), "grey")


@pytest.fixture(scope="module")
def processor():
    base = paligemma().processor
    template = get_template("paligemma", tokenizer=base.tokenizer, image_token=base.image_token)
    return MustelaProcessor(base, template, ProcessorSettings(region_token=None))


def ids(processor, *turns, **options):
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns))
    pictures = [PICTURE] * sum(message.count(Slot.IMAGE) for message in messages)
    return processor.encode(Rendered("r1", messages, ()), pictures, **options)["input_ids"].tolist()


def count_before_begin(processor, sample):
    """How many ids, all of pictures, stand before the only beginning."""
    begin = processor.tokenizer.bos_token_id
    assert sample.count(begin) == 1
    before = sample[: sample.index(begin)]
    assert set(before) <= {processor.image_token_id}
    return len(before)


def test_a_text_begins_with_the_beginning(processor):
    sample = ids(processor, ("Name it.",), ("No.",))
    assert count_before_begin(processor, sample) == 0
    prompt = ids(processor, ("Name it.",), generation=True)
    assert sample[: len(prompt)] == prompt


@pytest.mark.parametrize("pictures", [1, 2])
def test_pictures_stand_before_it(processor, pictures):
    sample = ids(processor, (Slot.IMAGE,) * pictures + ("Name it.",), ("No.",), ("And?",), ("Yes.",))
    assert count_before_begin(processor, sample) == 64 * pictures


def test_a_later_picture_has_none(processor):
    sample = ids(processor, ("Hello.",), ("Yes.",), (Slot.IMAGE, "Name it."), ("No.",))
    assert count_before_begin(processor, sample) == 0
    assert sample.count(processor.image_token_id) == 64


def test_it_counts_where_a_sample_has_a_longest_length(processor):
    turns = (Slot.IMAGE, "Name it."), ("No.",), ("And?",), ("Yes.",)
    whole, first = ids(processor, *turns), ids(processor, *turns[:2])
    assert ids(processor, *turns, max_length=len(whole)) == whole
    assert ids(processor, *turns, max_length=len(whole) - 1) == first


def test_rounds_apart_share_it(processor):
    messages = tuple(
        Message(role, (text,))
        for role, text in zip(("user", "assistant") * 2, ("A?", "B.", "C?", "D."), strict=True)
    )
    sample = processor.encode(Rendered("r1", messages, ()), [], separate_rounds=True)
    begin = processor.tokenizer.bos_token_id
    assert (sample["input_ids"] == begin).sum() == 1
    assert torch.equal(sample["segments"][0], torch.tensor([0, 0]))
