"""Encoded pictures taken apart and joined again are what was encoded together."""

from __future__ import annotations

import pytest
import torch

from mustela.data.message import Slot
from mustela.data.pictures import join_inputs
from mustela.model import ImageFeatures
from mustela.model.build import ClassicSettings, RegionSettings
from mustela.model.grids import sample_grids

TILES = ClassicSettings(image_wh=(32, 32), image_aspect_ratio="anyres", image_grids="1x1, 2x1, 1x2")
SIZES = [(64, 32), (30, 30), (20, 60)]
DINO = {
    "model_type": "dinov2", "image_size": 32, "patch_size": 4, "hidden_size": 24, "intermediate_size": 48,
    "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip


def check(pair, pictures):
    prepared = [pair.processor.prepare_image(picture) for picture in pictures]
    inputs = [dict(each.inputs) for each in prepared]
    with torch.no_grad():
        together = pair.model.encode_images(**join_inputs(inputs))
        alone = [pair.model.encode_images(**each).split()[0] for each in inputs]
    apart = together.split()
    assert sum(part.nbytes for part in apart) == together.nbytes
    points = torch.rand(3, 20, 2, generator=torch.Generator().manual_seed(0))
    image = torch.tensor([2, 0, 1])
    expected = sample_grids(together.grids, points, image, geometry="aligned")
    for parts in (apart, alone):
        joined = ImageFeatures.join(parts)
        assert len(joined) == len(pictures)
        for one, other in zip(joined.outputs.pooler_output, together.outputs.pooler_output, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        read = sample_grids(joined.grids, points, image, geometry="aligned")
        torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-4)


def test_pictures_of_a_batch(pair, noise_picture):
    check(pair, [noise_picture(seed, size) for seed, size in enumerate(SIZES)])


@pytest.mark.slow
@pytest.mark.parametrize("region_map", ["merged", "tiles", "global"])
def test_tiled_and_untiled_pictures(scratch, noise_picture, region_map):
    pair = scratch(classic=TILES)
    pair.model.base.model.config.region_map = region_map
    check(pair, [noise_picture(seed, size) for seed, size in enumerate(SIZES)])


@pytest.mark.slow
def test_a_region_tower(scratch, noise_picture):
    pair = scratch(regions=RegionSettings(encoder="mean", points=8, tower=DINO))
    check(pair, [noise_picture(seed, size) for seed, size in enumerate(SIZES)])


def test_a_prepared_picture_gives_the_sample_of_the_picture(pair, noise_picture):
    pictures = [noise_picture(seed, size) for seed, size in enumerate(SIZES[:2])]
    prepared = [pair.processor.prepare_image(picture) for picture in pictures]
    parts = (Slot.IMAGE, "and", Slot.IMAGE, "?")
    one, other = (pair.sample(*parts, images=images) for images in (pictures, prepared))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
