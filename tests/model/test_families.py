"""Every family of ready bases, on a tiny model of its own classes: all that a user does with one."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
import torch
from PIL import Image
from tests.model.tiny_bases import BASES

from mustela.data.message import Slot
from mustela.model import MustelaForConditionalGeneration
from mustela.model.adapter import Adapter
from mustela.model.build import RegionSettings, build_on_base
from mustela.model.lora import LoraSettings, attach_lora, choose_targets
from mustela.model.parts import part_of
from mustela.regions import Box

# The rest take longer than a fast suite has for one part.
FAST = ("llava_next",)
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in BASES]
# What the attention of each vision encoder puts out.
MIXING = re.compile(r"(self_attn|attn|attention)\.(out_proj|proj|projection_layer|o_proj)\.")
REGIONS = RegionSettings(encoder="mean", points=24)


@pytest.fixture(scope="module", params=NAMES)
def tiny(request, shaken):
    made = BASES[request.param]()
    shaken(made.base)
    return made


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("base")
    tiny.base.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def build(tiny, folder, as_pair):
    """Gives regions to the base as a user does."""

    def made():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mustela.model.build.load_base_processor", lambda *_, **__: tiny.processor)
            return as_pair(*build_on_base(folder, version="auto", regions=REGIONS))

    return made


@pytest.fixture(scope="module")
def pair(build, shaken):
    made = build()
    shaken(made.model).eval()
    return made


@contextmanager
def without_mixing(model):
    """Take out what lets patches see each other, so that a patch changes its own feature alone."""
    with torch.no_grad():
        kept = {}
        for name, parameter in model.named_parameters():
            if part_of(name) == "vision_tower" and MIXING.search(name):
                kept[parameter] = parameter.clone()
                parameter.zero_()
        assert kept
        yield
        for parameter, value in kept.items():
            parameter.copy_(value)


def both(pair, batch):
    """A batch for the model, and for its base, which has its own image tensors alone."""
    family = pair.model.family
    ours = {name: value for name, value in batch.items() if name != "labels"}
    prepared = ours if family.prepare is None else {**ours, **family.prepare(ours)}
    return ours, {name: value for name, value in prepared.items() if name not in family.layout_inputs}


def pictured(pair, count=3, **options):
    """Samples of one picture each, of other sizes, without regions."""
    sizes = [(64, 64), (100, 40), (30, 70)][:count]
    return [pair.sample(Slot.IMAGE, "What is this?", images=[picture(size)], **options) for size in sizes]


def encode(pair, tensors):
    """Encode the pictures of a sample or batch."""
    return pair.model.encode_images(
        **{name: tensors[name] for name in pair.model.image_inputs if name in tensors}
    )


def picture(size_wh, *, planted=None):
    image = Image.radial_gradient("L").resize(size_wh).convert("RGB")
    if planted is not None:
        image.paste("red", planted)
    return image


def test_the_grid_has_the_cells_of_the_encoder(pair, tiny):
    (sample,) = pictured(pair, 1)
    with torch.no_grad():
        grids = encode(pair, sample).grids
    assert grids.size_hw.tolist() == [list(tiny.maps_rc)]
    assert grids.table.shape[1] == pair.model.family.channels(pair.model.base.config)
    assert pair.processor.settings.coordinates == pair.model.family.coordinates


def test_without_regions_the_base_is_as_it_was(pair):
    ours, theirs = both(pair, pair.batch(pictured(pair)))
    with torch.no_grad():
        assert torch.equal(pair.model(**ours).logits, pair.model.base(**theirs).logits)


def test_generation_without_regions_is_that_of_the_base(pair):
    ours, theirs = both(pair, pair.batch(pictured(pair, generation=True), "left"))
    placeholders = [pair.model.base.config.image_token_id, pair.model.config.region_token_id]
    options = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "suppress_tokens": placeholders}
    assert torch.equal(pair.model.generate(**ours, **options), pair.model.base.generate(**theirs, **options))


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_samples_are_what_the_bases_own_processor_makes(pair, tiny):
    (sample,) = pictured(pair, 1, generation=True)
    content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    text = "<image>What is this?"
    if tiny.processor.chat_template is not None:
        asked = [{"role": "user", "content": content}]
        chat = {
            "chat_template": tiny.processor.chat_template,
            "tokenize": False,
            "add_generation_prompt": True,
        }
        text = tiny.processor.tokenizer.apply_chat_template(asked, **chat)
    theirs = tiny.processor(text=[text], images=[picture((64, 64))], return_tensors="pt")
    for name in ("input_ids", "token_type_ids", "mm_token_type_ids"):
        if name in sample:
            assert theirs[name][0].tolist() == sample[name].tolist()
    assert torch.equal(theirs["pixel_values"], sample["pixel_values"])


def test_regions_are_read_at_their_places(pair):
    """Only regions on a changed part of a picture change, in every shape of picture."""
    crops = type(pair.processor.image_processor).__name__ == "CLIPImageProcessorPil"
    cells = [(column, row) for row in range(4) for column in range(4)]
    for width, height in [(64, 64)] if crops else [(64, 64), (120, 60), (60, 120)]:
        parts = [
            (c * width // 4, r * height // 4, (c + 1) * width // 4, (r + 1) * height // 4) for c, r in cells
        ]
        boxes = [Box(left + 1, top + 1, right - 1, bottom - 1) for left, top, right, bottom in parts]

        def read(image, boxes=boxes):
            sample = pair.sample(Slot.IMAGE, *[Slot.REGION] * 16, images=[image], regions=boxes)
            with torch.no_grad():
                points = sample["region_points"], sample["region_image"]
                return pair.model.encode_regions(encode(pair, sample), *points)

        with without_mixing(pair.model):
            before = read(picture((width, height)))
            for place in (0, 7, 13, 10):
                after = read(picture((width, height), planted=parts[place]))
                changed = (after - before).abs().amax(-1) > 1e-4 * before.abs().max()
                column, row = cells[place]
                away = [max(abs(c - column), abs(r - row)) for c, r in cells]
                assert changed[place]
                assert not any(changed[index] for index in range(16) if away[index] > 1)


def test_text_and_mixed_batches(pair):
    samples = pair.four()
    counts = [int((sample["labels"] != -100).sum()) for sample in samples]
    with torch.no_grad():
        alone = [pair.model(**pair.batch([sample])).loss for sample in samples]
        together = pair.model(**pair.batch(samples)).loss
        padded = pair.model(**pair.batch(samples, "left")).loss
    expected = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(padded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", [slice(0, 1), slice(0, 4)], ids=["text", "mixed"])
def test_every_parameter_gets_a_gradient(pair, which):
    pair.model.train()
    pair.model.zero_grad(set_to_none=True)
    pair.model(**pair.batch(pair.four()[which])).loss.backward()
    pair.model.eval()
    without = [name for name, each in pair.model.named_parameters() if each.grad is None]
    assert not [name for name in without if not unread(name, pair.model)]
    if which.stop == 4:
        assert all(each.grad.abs().sum() > 0 for each in pair.model.region_encoder.parameters())
    pair.model.zero_grad(set_to_none=True)


def unread(name, model):
    """Say whether a parameter lies behind the layers that anything reads."""
    config = model.base.config
    last = config.vision_config.to_dict().get("num_hidden_layers", 0) - 1
    layers = config.to_dict().get("vision_feature_layer")
    return "post_layernorm" in name or (layers == -2 and f"layers.{last}." in name)


def test_answers_come_from_the_cache(pair):
    batch = pair.batch(pair.four(generation=True), "left")
    assert pair.answers(batch) == pair.answers(batch, use_cache=False)


def test_pictures_are_encoded_once_for_many_questions(pair):
    batch = pair.batch(pair.four(generation=True)[1:], "left")
    with torch.no_grad():
        features = encode(pair, batch)
    assert len(features) == 3
    again = features.select([2, 0, 1]).select([1, 2, 0])
    taken = set(pair.model.image_inputs) - set(pair.model.family.position_inputs)
    kept = {name: value for name, value in batch.items() if name not in taken}
    assert pair.answers({**kept, "image_features": again}) == pair.answers(batch)


def test_saved_and_loaded_is_the_same(pair, tmp_path):
    pair.model.save_pretrained(tmp_path)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path).eval()
    batch = pair.batch(pair.four())
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, pair.model(**batch).logits)


def test_adapters_learn_and_load(build, tmp_path):
    pair = build()
    targets = choose_targets(pair.model)
    assert targets
    assert all(part_of(name) == "language_model" for name in targets)
    settings = LoraSettings(r=2, alpha=4, dropout=0.0, dora=False, rslora=False, targets=targets)
    attach_lora(pair.model, settings)
    pair.model.adapter = Adapter(pair.model.origin, settings, None, shapes={})
    batch = pair.batch(pair.four())
    pair.model.train()
    learn = {name: each for name, each in pair.model.named_parameters() if each.requires_grad}
    assert all("lora_" in name for name in learn)
    before = float(pair.model(**batch).loss.detach())
    pair.model(**batch).loss.backward()
    with torch.no_grad():
        for each in learn.values():
            each -= 0.1 * each.grad
    pair.model.eval()
    pair.model.save_pretrained(tmp_path)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        after = pair.model(**batch).loss
        assert abs(float(after) - before) > 1e-4
        torch.testing.assert_close(loaded(**batch).loss, after)
