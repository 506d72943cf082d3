"""Several tokens a region, and masks embedded into the features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mustela.data.message import Slot
from mustela.data.rounds import SampleTooLongError
from mustela.errors import ConfigError, CountMismatchError
from mustela.model import MustelaConfig, MustelaForConditionalGeneration
from mustela.model.build import RegionSettings
from mustela.model.grids import FeatureGrids
from mustela.model.region_encoders import build_region_encoder
from mustela.model.region_encoders.mask import region_masks
from mustela.regions import Box

ENCODERS = ("geo", "mean", "roi", "mask_embed")


def encoder(name: str, tokens: int, *, seed: int = 0):
    torch.manual_seed(seed)
    config = MustelaConfig(
        region_encoder=name, tokens_per_region=tokens, region_sub_points=(8, 4), region_neighbors=4
    )
    return build_region_encoder(config, channels=5, hidden_size=8)


def grids(*sizes_hw):
    generator = torch.Generator().manual_seed(1)
    return FeatureGrids.from_list([torch.randn(*size, 5, generator=generator) for size in sizes_hw])


def points(count):
    return torch.rand(count, 32, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ENCODERS)
def test_each_region_gives_its_tokens_alone_and_among_others(name):
    module, maps, image = encoder(name, 4), grids((8, 8), (4, 12)), torch.tensor([0, 1, 0])
    together = module(maps, points(3), image)
    assert together.shape == (12, 8)
    for index in range(3):
        alone = module(maps, points(3)[index : index + 1], image[index : index + 1])
        torch.testing.assert_close(alone, together[4 * index : 4 * index + 4])
    assert len(together[:4].unique(dim=0)) == 4


@pytest.mark.parametrize("name", ENCODERS)
def test_no_region_gives_no_token_and_gradients_of_zero(name):
    module = encoder(name, 4)
    none = module(grids((8, 8)), torch.zeros(0, 32, 2), torch.zeros(0, dtype=torch.long))
    assert none.shape == (0, 8)
    none.sum().backward()
    assert all(each.grad is not None and not each.grad.any() for each in module.parameters())


@pytest.mark.parametrize(
    ("name", "tokens"), [("roi", 6), ("mask_embed", 2), ("geo", 0), ("none", 4), ("mean", 1000)]
)
def test_numbers_of_tokens_that_an_encoder_cannot_give(name, tokens):
    with pytest.raises(ConfigError, match="tokens_per_region"):
        encoder(name, tokens)


@pytest.mark.parametrize("sub_points", [(128, 32), (16, 32)])
def test_a_stage_of_geo_keeps_no_more_points_than_it_gets(sub_points, scratch):
    regions = RegionSettings(encoder="geo", points=64, sub_points=sub_points)
    with pytest.raises(ConfigError, match="region_sub_points are"):
        scratch(regions=regions)


def test_parts_of_the_grid_are_tokens_row_by_row():
    # What lies in one quarter of the box moves that quarter's token most.
    module = encoder("roi", 4)
    torch.nn.init.zeros_(module.content.weight)
    plain, changed = torch.zeros(1, 8, 8, 5), torch.zeros(1, 8, 8, 5)
    changed[:, :3, 5:] = 1.0
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    before, after = (
        module(FeatureGrids.from_batch(each), corners, torch.tensor([0])) for each in (plain, changed)
    )
    moved = (after - before).abs().amax(-1)
    assert moved.argmax() == 1
    torch.testing.assert_close(moved[[0, 2, 3]], torch.zeros(3))


def test_parts_of_a_region_average_to_their_own_points():
    module = encoder("mean", 2)
    left, right = torch.rand(16, 2) * 0.1, torch.rand(16, 2) * 0.1 + torch.tensor([0.8, 0.5])
    maps, image = grids((8, 8)), torch.tensor([0])
    both = module(maps, torch.cat([left, right])[None], image)
    one = encoder("mean", 1)
    torch.testing.assert_close(both[:1], one(maps, left[None], image))
    torch.testing.assert_close(both[1:], one(maps, right[None], image))
    same = torch.full((1, 16, 2), 0.3)
    torch.testing.assert_close(module(maps, same, image), one(maps, same, image).expand(2, -1))


@pytest.mark.parametrize("tokens", [1, 4])
def test_an_embedded_mask_changes_nothing_at_the_start_and_learns(tokens):
    plain, masked = encoder("roi", tokens), encoder("mask_embed", tokens)
    masked.load_state_dict(plain.state_dict(), strict=False)
    where = (grids((8, 8), (6, 4)), points(3) * 0.4 + 0.1, torch.tensor([0, 1, 1]))
    assert torch.equal(plain(*where), masked(*where))
    masked(*where).square().sum().backward()
    assert masked.mask.patch.weight.grad.abs().sum() > 0


def test_a_mask_reaches_the_features_through_its_convolution():
    # A mask over everything adds the kernel's sum to every feature.
    module = encoder("mask_embed", 1).mask
    with torch.no_grad():
        module.patch.weight.copy_(torch.randn(module.patch.weight.shape))
    places = torch.linspace(0, 1, 12)
    dense = torch.cartesian_prod(places, places)[None]
    added = module(grids((3, 3)), dense, torch.tensor([0]), torch.rand(1, 7, 2))
    torch.testing.assert_close(added[0], module.patch.weight.sum((1, 2, 3)).expand(7, -1))


def test_masks_mark_their_points_and_what_is_next_to_them():
    maps = grids((2, 3), (1, 1), (4, 4))
    masks = region_masks(maps, torch.tensor([[[0.01, 0.01]], [[0.99, 0.99]]]), torch.tensor([0, 2]), side=2)
    assert masks.size_hw.tolist() == [[2, 3], [4, 4]]
    first, last = masks.table[:6].view(2, 3, 2, 2), masks.table[6:].view(4, 4, 2, 2)
    assert first.transpose(1, 2).reshape(4, 6).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert last.transpose(1, 2).reshape(8, 8).nonzero().tolist() == [[6, 6], [6, 7], [7, 6], [7, 7]]


def test_the_mask_of_a_new_model_starts_at_zero(scratch):
    pair = scratch(regions=RegionSettings(encoder="mask_embed", points=16))
    assert not pair.model.region_encoder.mask.patch.weight.any()
    again = MustelaForConditionalGeneration(pair.model.config)
    assert not again.region_encoder.mask.patch.weight.any()


def test_a_model_with_four_tokens_a_region(scratch, as_pair, tmp_path):
    pair = scratch(regions=RegionSettings(encoder="roi", points=16, tokens=4))
    token = pair.model.config.region_token_id
    samples = pair.four()
    assert [int((sample["input_ids"] == token).sum()) for sample in samples] == [0, 0, 4, 12]
    assert all((sample["labels"][sample["input_ids"] == token] == -100).all() for sample in samples)
    batch = pair.batch(samples)
    assert pair.model(**batch).loss.isfinite()
    # Padding and company change nothing.
    prompts = pair.four(generation=True)
    assert pair.answers(pair.batch(prompts, "left")) == [
        pair.answers(pair.batch([prompt], "left"))[0] for prompt in prompts
    ]
    pair.model.save_pretrained(tmp_path)
    pair.processor.save_pretrained(tmp_path)
    loaded = as_pair(
        MustelaForConditionalGeneration.from_pretrained(tmp_path).eval(),
        type(pair.processor).from_pretrained(tmp_path),
    )
    assert loaded.processor.settings == pair.processor.settings
    assert torch.equal(loaded.model(**batch).loss, pair.model(**batch).loss)
    with pytest.raises(CountMismatchError, match="each region 4 of them"):
        pair.model(
            **batch | {"region_points": batch["region_points"][:3], "region_image": batch["region_image"][:3]}
        )


def test_region_tokens_count_when_rounds_are_fitted(scratch, noise_picture):
    pair = scratch(regions=RegionSettings(encoder="mean", points=16, tokens=9))
    question = (Slot.IMAGE, "What is ", Slot.REGION, "?")
    given = {"images": [noise_picture(0)], "regions": [Box(2, 2, 20, 20)]}
    length = len(pair.sample(*question, **given)["input_ids"])
    assert len(pair.sample(*question, **given, max_length=length)["input_ids"]) == length
    with pytest.raises(SampleTooLongError, match=str(length)):
        pair.sample(*question, **given, max_length=length - 1)
    one = replace(pair.processor.settings, tokens_per_region=1)
    pair.processor.settings = one
    assert len(pair.sample(*question, **given)["input_ids"]) == length - 8
