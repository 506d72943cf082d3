"""A ready base of native resolution and multi-axis positions."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from transformers import BlipConfig
from transformers.utils import is_torchvision_available

from mustela.data.message import Slot
from mustela.data.render import RenderedRegion
from mustela.errors import ConfigError, MissingExtraError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import RegionSettings, build_on_base
from mustela.model.families import family_of
from mustela.regions import Box, Stretch


def base_inputs(batch):
    return {
        name: value for name, value in batch.items() if not name.startswith("region_") and name != "labels"
    }


def test_without_regions_the_base_is_as_it_was(qwen_pair):
    batch = base_inputs(qwen_pair.batch(qwen_pair.four()[:2]))
    with torch.no_grad():
        assert torch.equal(qwen_pair.model(**batch).logits, qwen_pair.model.base(**batch).logits)


def test_generation_without_regions_is_that_of_the_base(qwen_pair):
    batch = base_inputs(qwen_pair.batch(qwen_pair.four(generation=True)[:2], "left"))
    options = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": None}
    ours = qwen_pair.model.generate(**batch, **options)
    assert torch.equal(ours, qwen_pair.model.base.generate(**batch, **options))


@pytest.mark.parametrize("patches_wh", [(4, 4), (6, 4), (2, 8)], ids=str)
def test_a_changed_patch_changes_the_feature_at_its_place_alone(planted_patch, qwen_pair, patches_wh):
    # Blocks mix patches; without them the order of the windows is all that is left.
    changed = replace(qwen_pair, model=deepcopy(qwen_pair.model))
    changed.model.base.model.visual.blocks = torch.nn.ModuleList()
    planted_patch(changed, side=8, patches_wh=patches_wh)


def test_points_follow_the_native_resolution(qwen_pair, noise_picture):
    # 50 x 90 pixels become 6 x 12 patches at most: what the grid says is what the points are scaled by.
    picture = noise_picture(0, (90, 50))
    sample = qwen_pair.sample(Slot.IMAGE, Slot.REGION, "?", images=[picture], regions=[Box(45, 0, 90, 25)])
    _, rows, columns = sample["image_grid_thw"][0].tolist()
    assert rows * columns * 64 <= 64 * 64
    raster = RenderedRegion(Box(45, 0, 90, 25)).raster((90, 50))
    ys, xs = raster.nonzero()
    encoded = Stretch((90, 50), (columns * 8, rows * 8))
    low, high = encoded.points([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]) / encoded.encoded_wh
    points = sample["region_points"][0].double().numpy()
    assert (points > low).all()
    assert (points < high).all()
    assert low.tolist() == [0.5, 0.0]


def test_every_parameter_learns(qwen_pair):
    model = qwen_pair.model
    model.zero_grad(set_to_none=True)
    model(**qwen_pair.batch(qwen_pair.four())).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_saved_and_loaded_is_the_same_to_the_bit(qwen_pair, tmp_path):
    qwen_pair.model.save_pretrained(tmp_path)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path).eval()
    batch = qwen_pair.batch(qwen_pair.four())
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, qwen_pair.model(**batch).logits)


def test_unknown_bases_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"bases of type 'blip'.*qwen3_vl"):
        family_of(BlipConfig())


@pytest.mark.skipif(is_torchvision_available(), reason="the missing package is there")
@pytest.mark.filterwarnings("ignore")
def test_a_processor_that_needs_a_missing_package_names_it(qwen_folder):
    with pytest.raises(
        MissingExtraError, match=r"the processor of .* pip install torchvision \(the import said"
    ):
        build_on_base(qwen_folder, version="auto", regions=RegionSettings())
