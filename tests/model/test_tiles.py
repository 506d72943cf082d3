"""Pictures of any resolution in the classic composition, and regions from a second encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from mustela.data.message import Slot
from mustela.errors import ConfigError, CountMismatchError
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import ClassicSettings, RegionSettings
from mustela.model.grids import FeatureGrids, resample, sample_grids
from mustela.model.parts import parts
from mustela.regions import Box, Tiled

ANYRES = ClassicSettings(image_wh=(32, 32), image_aspect_ratio="anyres", image_grids="1x1, 2x1, 1x2, 3x2")
LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
DINO = {"model_type": "dinov2", "image_size": 32, "patch_size": 4, **LAYERS, "hidden_size": 24}
SAM = {
    "model_type": "sam_vision_model", "image_size": 32, "patch_size": 8, "hidden_size": 16,
    "output_channels": 12, "initializer_range": 0.2, "num_hidden_layers": 1, "num_attention_heads": 2,
    "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 6,
}  # fmt: skip
TOWERS = {
    "dinov2": DINO,
    "siglip": {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 4, **LAYERS},
    "sam": SAM,
}


def encode(pair, picture):
    sample = pair.sample(Slot.IMAGE, "?", images=[picture])
    with torch.no_grad():
        return pair.model.encode_images(**{n: sample[n] for n in pair.model.image_inputs if n in sample})


def mix_nothing(pair):
    """Take out the attention that mixes patches, so that a patch changes its own feature alone."""
    for tower in (
        pair.model.base.model.vision_tower,
        pair.model.base.model.tile_tower,
        pair.model.region_tower,
    ):
        if tower is None:
            continue
        for module in tower.modules():
            for name in ("out_proj", "attention_output"):
                if name in dict(module.named_children()):
                    projection = module.get_submodule(name)
                    for parameter in projection.parameters():
                        torch.nn.init.zeros_(parameter)
            if type(module).__name__ == "Dinov2SelfOutput":
                for parameter in module.parameters():
                    torch.nn.init.zeros_(parameter)
    return pair


def check_planted(pair, picture, *, square, steps):
    """Plant a square; features at points well inside it change, those beyond its neighbour cells don't."""
    fit = pair.processor.prepare_image(picture).transform
    planted = picture.copy()
    planted.paste("red", square)
    before, after = (encode(pair, each).grids for each in (picture, planted))
    width, height = picture.size
    xs = (torch.arange(steps) + 0.5) / steps * width
    ys = (torch.arange(steps) + 0.5) / steps * height
    source = torch.cartesian_prod(xs, ys)
    points = torch.from_numpy(fit.points(source.numpy()) / fit.encoded_wh).float()[:, None]
    image = torch.zeros(len(points), dtype=torch.long)
    old, new = (sample_grids(each, points, image, geometry="aligned") for each in (before, after))
    changed = (new - old).abs().amax((1, 2)) > 1e-4
    left, top, right, bottom = square
    inside = (source[:, 0] > left) & (source[:, 0] < right) & (source[:, 1] > top) & (source[:, 1] < bottom)
    assert inside.sum() >= 4
    assert changed[inside].all()
    return source, changed


@pytest.mark.parametrize("region_map", ["merged", "tiles", "global"])
@pytest.mark.parametrize("size_wh", [(64, 32), (60, 20), (90, 60), (20, 60), (30, 30)], ids=str)
def test_a_patch_across_the_border_of_tiles_changes_the_features_at_its_place(scratch, size_wh, region_map):
    pair = mix_nothing(scratch(classic=replace(ANYRES, region_map=region_map)))
    width, height = size_wh
    # The middle of the picture: a border of two tiles, or the corner of more.
    square = (width // 2 - 8, height // 2 - 8, width // 2 + 8, height // 2 + 8)
    picture = Image.new("RGB", size_wh, "grey")
    source, changed = check_planted(pair, picture, square=square, steps=16)
    # A cell of the overview, and one more for interpolation on either side of it.
    fit = pair.processor.prepare_image(picture).transform
    tiled = isinstance(fit, Tiled)
    cell_x = (width / 4 if region_map != "tiles" or not tiled else 8 / fit.scale_xy[0]) * 2.5
    cell_y = (height / 4 if region_map != "tiles" or not tiled else 8 / fit.scale_xy[1]) * 2.5
    far = (
        (source[:, 0] < square[0] - cell_x)
        | (source[:, 0] > square[2] + cell_x)
        | (source[:, 1] < square[1] - cell_y)
        | (source[:, 1] > square[3] + cell_y)
    )
    assert not changed[far].any()
    if size_wh == (90, 60) and region_map == "tiles":
        assert far.any()


def test_the_merged_map_is_the_sum_of_tiles_and_upsampled_overview(scratch, noise_picture):
    pictures = [noise_picture(0, (64, 28)), noise_picture(1, (31, 30))]
    pair = scratch(classic=ANYRES)
    maps = {}
    for kind in ("merged", "tiles", "global"):
        pair.model.base.model.config.region_map = kind
        maps[kind] = [encode(pair, picture).grids for picture in pictures]
    merged, tiles, overview = (maps[kind][0] for kind in ("merged", "tiles", "global"))
    assert tiles.size_hw.tolist() == merged.size_hw.tolist() == [[4, 8]]
    torch.testing.assert_close(merged.table, tiles.table + resample(overview, tiles).table)
    # A picture of one tile has its overview, once.
    for kind in ("tiles", "global"):
        torch.testing.assert_close(maps["merged"][1].table, maps[kind][1].table)


def test_reading_on_other_cells_is_exact_where_features_are_linear():
    x = (torch.arange(8) + 0.5) / 8
    plane = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1)
    window = torch.tensor([[0.25, -0.5, 0.75, 1.5]])
    grids = FeatureGrids.from_batch(plane[None])
    windowed = FeatureGrids(grids.table, grids.start, grids.size_hw, window)
    fine = resample(windowed, FeatureGrids.from_batch(torch.zeros(1, 4, 16, 1)))
    inside = (fine.centres(0)[:, 0] > 0.3) & (fine.centres(0)[:, 0] < 0.7)
    expected = torch.stack(
        [(fine.centres(0)[:, 0] - 0.25) / 0.5, (fine.centres(0)[:, 1] + 0.5) / 2.0], dim=-1
    )
    torch.testing.assert_close(fine.table[inside], expected[inside])


@pytest.mark.parametrize("order", ["flat", "spatial", "spatial_unpad"])
def test_tiled_pictures_train_answer_and_load(scratch, as_pair, noise_picture, order, tmp_path):
    pair = scratch(classic=replace(ANYRES, tile_order=order))
    question = (Slot.IMAGE, "What is ", Slot.REGION, "?")
    asked = {(70, 20): Box(2, 2, 60, 12), (30, 30): Box(1, 1, 20, 20), (40, 90): Box(9, 9, 30, 80)}
    samples = [
        *pair.four()[:1],
        *(
            pair.sample(*question, images=[noise_picture(0, size)], regions=[box])
            for size, box in asked.items()
        ),
    ]
    batch = pair.batch(samples)
    pair.model.train()
    loss = pair.model(**batch).loss
    loss.backward()
    pair.model.eval()
    if order != "flat":
        assert pair.model.base.model.newline.weight.grad.abs().sum() > 0
    counts = [int((sample["labels"] != -100).sum()) for sample in samples]
    each = [pair.model(**pair.batch([sample])).loss for sample in samples]
    together = sum(loss * count for loss, count in zip(each, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(together, pair.model(**batch).loss)
    assert {name for found in parts(pair.model).values() for name in found} == {
        name for name, _ in pair.model.named_parameters()
    }
    pair.model.save_pretrained(tmp_path)
    pair.processor.save_pretrained(tmp_path)
    loaded = as_pair(
        MustelaForConditionalGeneration.from_pretrained(tmp_path).eval(),
        type(pair.processor).from_pretrained(tmp_path),
    )
    assert loaded.processor.settings == pair.processor.settings
    torch.testing.assert_close(loaded.model(**batch).loss, pair.model(**batch).loss)


def test_tokens_of_tiles_lie_in_order(scratch, noise_picture):
    flat, spatial = (scratch(classic=replace(ANYRES, tile_order=order)) for order in ("flat", "spatial"))
    spatial.model.load_state_dict(flat.model.state_dict(), strict=False)
    first, second = (
        encode(pair, noise_picture(0, (64, 32))).outputs.pooler_output[0] for pair in (flat, spatial)
    )
    overview = second[:16]
    torch.testing.assert_close(first[:16], overview)
    rows = second[16:].unflatten(0, (4, 9))
    newline = spatial.model.base.model.newline.weight[0]
    torch.testing.assert_close(rows[:, 8], newline.expand(4, -1))
    tiles = first[16:].unflatten(0, (2, 4, 4))
    torch.testing.assert_close(torch.cat([tiles[0], tiles[1]], dim=1), rows[:, :8])


def test_tiles_with_an_encoder_of_their_own(scratch, as_pair, noise_picture, tmp_path):
    pair = scratch(classic=ANYRES, tile_tower=DINO)
    picture = noise_picture(0, (64, 32))
    features = encode(pair, picture)
    # 16 tokens of the overview, and 64 of each tile; regions are read from projected features.
    assert [len(each) for each in features.outputs.pooler_output] == [16 + 2 * 64]
    assert features.grids.size_hw.tolist() == [[8, 16]]
    assert features.grids.table.shape[1] == 32
    sample = pair.sample(Slot.IMAGE, Slot.REGION, "?", images=[picture], regions=[Box(9, 9, 40, 30)])
    batch = pair.batch([sample])
    pair.model(**batch).loss.backward()
    assert all(each.grad.abs().sum() > 0 for each in pair.model.base.model.tile_projector.parameters())
    pair.model.save_pretrained(tmp_path)
    loaded = MustelaForConditionalGeneration.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**batch).loss, pair.model(**batch).loss)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"select_feature": "cls_patch"}, "mm_vision_select_feature"),
        ({"max_tokens": 10}, "image_max_tokens is 10"),
    ],
)
def test_tiles_that_cannot_be_made(scratch, changes, said):
    with pytest.raises(ConfigError, match=said):
        scratch(classic=replace(ANYRES, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("join", ["concat", "sum", "only"])
@pytest.mark.parametrize("aspect", ["square_nocrop", "anyres", "pad"])
def test_regions_from_a_second_encoder(scratch, tower, join, aspect):
    regions = RegionSettings(encoder="mean", points=16, tower_join=join)
    classic = replace(ANYRES, image_aspect_ratio=aspect)
    pair = mix_nothing(scratch(regions=regions, classic=classic, region_tower=TOWERS[tower]))
    features = encode(pair, Image.new("RGB", (90, 60), "grey"))
    side = 4 if tower == "sam" else 8
    assert features.grids.size_hw.tolist() == [[side, side]]
    own = {"dinov2": 24, "siglip": 32, "sam": 12}[tower]
    assert features.grids.table.shape[1] == (own + 32 if join == "concat" else own)
    check_planted(pair, Image.new("RGB", (90, 60), "grey"), square=(30, 15, 60, 45), steps=12)
    batch = pair.batch(pair.four())
    pair.model.train()
    pair.model(**batch).loss.backward()
    assert any(parameter.grad is not None for parameter in pair.model.region_tower.parameters())


def test_a_region_tower_is_saved_with_the_model(scratch, as_pair, tmp_path):
    regions = RegionSettings(
        encoder="geo", points=16, sub_points=(8, 4), neighbors=4, tower_size=48, tower_join="sum"
    )
    pair = scratch(regions=regions, region_tower=DINO)
    batch = pair.batch(pair.four())
    assert batch["region_pixel_values"].shape[1:] == (3, 48, 48)
    pair.model.save_pretrained(tmp_path)
    pair.processor.save_pretrained(tmp_path)
    loaded = as_pair(
        MustelaForConditionalGeneration.from_pretrained(tmp_path).eval(),
        type(pair.processor).from_pretrained(tmp_path),
    )
    assert loaded.processor.settings == pair.processor.settings
    again = loaded.batch(loaded.four())
    assert torch.equal(again["region_pixel_values"], batch["region_pixel_values"])
    torch.testing.assert_close(loaded.model(**again).loss, pair.model(**batch).loss)
    with pytest.raises(CountMismatchError, match="region tower 2"):
        loaded.model(**batch | {"region_pixel_values": batch["region_pixel_values"][:2]})


def test_sizes_that_a_region_tower_cannot_take(scratch):
    for tower, size in ((DINO, 30), (SAM, 64)):
        with pytest.raises(ConfigError, match="region_tower_size"):
            scratch(regions=RegionSettings(encoder="mean", tower_size=size), region_tower=tower)


def test_pictures_left_as_bytes_are_a_quarter_as_large_and_come_out_the_same(scratch):
    regions = RegionSettings(encoder="mean", points=9, tower_size=32)
    processor = scratch(regions=regions, classic=ANYRES, region_tower=DINO).processor
    picture = Image.effect_noise((60, 41), 80).convert("RGB")
    expected = processor.prepare_image(picture).inputs
    left = processor.with_bytes().prepare_image(picture).inputs
    assert {name for name, tensor in left.items() if tensor.dtype == torch.uint8} == {
        "pixel_values", "tile_pixel_values", "region_pixel_values",
    }  # fmt: skip
    made = processor.normaliser(left)
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in made)
    assert not processor.as_bytes
