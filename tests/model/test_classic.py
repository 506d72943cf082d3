"""The classic composition: any tower, any language model, any projector."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessorPil,
)

from mustela.data.message import Slot
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
from mustela.model import MustelaConfig, MustelaForConditionalGeneration
from mustela.model.build import ClassicSettings, RegionSettings, build_classic
from mustela.model.classic_config import prefix_tokens
from mustela.model.grids import sample_grids
from mustela.model.tokens import train_tokenizer
from mustela.regions import Box

LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
TOWERS = {
    "clip": {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8, **LAYERS},
    "siglip": {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, **LAYERS},
    "dinov2": {"model_type": "dinov2", "image_size": 32, "patch_size": 8, **LAYERS},
}
_LM = {**LAYERS, "num_hidden_layers": 2, "num_key_value_heads": 1, "max_position_embeddings": 512}
LANGUAGE_MODELS = {
    "llama": {"model_type": "llama", **_LM},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True, **_LM},
    "gemma": {"model_type": "gemma", "head_dim": 16, **_LM},
    "gemma2": {"model_type": "gemma2", "head_dim": 16, "final_logit_softcapping": 2.0, **_LM},
}
REGIONS = RegionSettings(encoder="geo", points=32, sub_points=(8, 4), neighbors=4)
TEXTS = ["What is this? a red star [1, 2, 3, 4]. Where is the blue circle? Yes. No."] * 5


def save_parts(folder: Path, language_model: str, tower: str) -> tuple[Path, Path]:
    """Save a language model and a tower as one has them from elsewhere."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, vocab_size=320, control_tokens=["<unk>"], end_token="</s>")
    values = {**LANGUAGE_MODELS[language_model], "vocab_size": len(tokenizer), "bos_token_id": None}
    values |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    values = dict(TOWERS.get(tower) or {"model_type": tower, **CONVOLUTIONAL[tower]})
    AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values)).save_pretrained(
        folder / "tower"
    )
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder / "tower")
    return folder / "lm", folder / "tower"


def check_learns(model: MustelaForConditionalGeneration, batch: dict[str, torch.Tensor]) -> None:
    """Check that every parameter takes part, but for what lies behind the selected vision layer."""
    model.zero_grad()
    loss = model.train()(**batch).loss
    assert loss.isfinite()
    loss.backward()
    model.eval()
    last = model.config.base_config.vision_config.num_hidden_layers - 1
    behind = re.compile(rf"vision_tower\.(.*layers?\.{last}\.|post_layernorm|layernorm|head\.|.*mask_token)")
    for name, parameter in model.named_parameters():
        if not behind.search(name):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def check_round_trip(pair, folder: Path, batch: dict[str, torch.Tensor]) -> None:
    """Save and load with the Auto classes: same type, same weights and same logits to the bit."""
    pair.model.save_pretrained(folder)
    pair.processor.save_pretrained(folder)
    assert isinstance(AutoConfig.from_pretrained(folder), MustelaConfig)
    processor = AutoProcessor.from_pretrained(folder)
    assert isinstance(processor, MustelaProcessor)
    assert processor.settings == pair.processor.settings
    loaded = AutoModelForImageTextToText.from_pretrained(folder).eval()
    assert isinstance(loaded, MustelaForConditionalGeneration)
    state = loaded.state_dict()
    assert state.keys() == pair.model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in pair.model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(pair.model(**batch).logits, loaded(**batch).logits)


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
@pytest.mark.parametrize("tower", TOWERS)
def test_from_nothing(tower, language_model, scratch, tmp_path):
    pair = scratch(vision_tower=TOWERS[tower], language_model=LANGUAGE_MODELS[language_model])
    check_learns(pair.model, pair.batch(pair.four()))
    prompts = pair.batch(pair.four(generation=True), "left")
    assert pair.answers(prompts) == pair.answers(prompts, use_cache=False)
    check_round_trip(pair, tmp_path, pair.batch(pair.four()))


@pytest.mark.parametrize(
    ("tower", "language_model", "projector", "feature"),
    [
        ("clip", "llama", "linear", "patch"),
        ("clip", "llama", "linear", "cls_patch"),
        ("siglip", "qwen3", "mlp2x_gelu", "patch"),
        ("siglip", "qwen3", "mlp2x_gelu", "cls_patch"),
        ("dinov2", "gemma", "mlp_downsample", "patch"),
        ("dinov2", "gemma2", "linear", "cls_patch"),
    ],
)
def test_from_two_parts(tower, language_model, projector, feature, as_pair, tmp_path):
    folders = save_parts(tmp_path, language_model, tower)
    settings = ClassicSettings(image_wh=(32, 32), projector_type=projector, select_feature=feature)
    pair = as_pair(*build_classic(*folders, version="v1", regions=REGIONS, classic=settings))
    pair.model.eval()
    tokens = int((pair.four()[1]["input_ids"] == pair.processor.image_token_id).sum())
    patches = 4 if projector == "mlp_downsample" else 16
    vision_config = pair.model.config.base_config.vision_config
    assert tokens == patches + (prefix_tokens(vision_config) if feature == "cls_patch" else 0)
    # The parts are those that were given.
    lm = AutoModelForCausalLM.from_pretrained(folders[0]).eval()
    ids = torch.tensor([[5, 9, 30, 77]])
    with torch.no_grad():
        known = lm.config.vocab_size
        torch.testing.assert_close(pair.model(input_ids=ids).logits[..., :known], lm(input_ids=ids).logits)
        tower_model = AutoModel.from_pretrained(folders[1]).eval()
        sample = pair.four()[1]
        hidden = tower_model(pixel_values=sample["pixel_values"], output_hidden_states=True).hidden_states
        grids = pair.model.encode_images(pixel_values=sample["pixel_values"]).grids
        torch.testing.assert_close(grids.table, hidden[-2][0, prefix_tokens(vision_config) :])
    check_learns(pair.model, pair.batch(pair.four()))
    check_round_trip(pair, tmp_path / "saved", pair.batch(pair.four()))


@pytest.mark.parametrize("encoder", ["mean", "roi", "none"])
def test_other_region_encoders(encoder, scratch, tmp_path):
    pair = scratch(regions=RegionSettings(encoder=encoder, points=16))
    samples = pair.four()[:2] if encoder == "none" else pair.four()
    if encoder == "none":
        assert pair.model.region_encoder is None
        assert pair.model.config.region_token_id is None
    check_learns(pair.model, pair.batch(samples))
    check_round_trip(pair, tmp_path, pair.batch(samples))


@pytest.mark.parametrize("layer", [-1, -2, [-3, -1]], ids=str)
def test_selected_layers(layer, scratch):
    pair = scratch(
        vision_tower=TOWERS["clip"], classic=ClassicSettings(image_wh=(32, 32), select_layer=layer)
    )
    pixels = pair.four()[1]["pixel_values"]
    hidden = pair.model.base.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    expected = torch.cat(
        [hidden[index][:, 1:] for index in ([layer] if isinstance(layer, int) else layer)], -1
    )
    torch.testing.assert_close(
        pair.model.encode_images(pixel_values=pixels).grids.table, expected.flatten(0, 1)
    )
    assert pair.model(**pair.batch(pair.four())).loss.isfinite()


@pytest.mark.parametrize("tower", TOWERS)
def test_pictures_of_another_size_than_the_tower_was_trained_with(tower, scratch):
    classic = ClassicSettings(image_wh=(48, 24), projector_type="mlp2x_gelu")
    pair = scratch(vision_tower=TOWERS[tower], classic=classic)
    sample = pair.four()[2]
    assert sample["pixel_values"].shape == (1, 3, 24, 48)
    assert int((sample["input_ids"] == pair.processor.image_token_id).sum()) == 18
    grids = pair.model.encode_images(pixel_values=sample["pixel_values"]).grids
    assert grids.size_hw.tolist() == [[3, 6]]
    assert pair.model(**pair.batch(pair.four())).loss.isfinite()


@pytest.mark.parametrize(
    ("image_wh", "feature", "message"),
    [((24, 24), "patch", "2 x 2 patches, but a picture has 3 x 3"), ((32, 32), "cls_patch", "patches only")],
)
def test_downsampling_that_cannot_work_is_refused(image_wh, feature, message, scratch):
    classic = ClassicSettings(image_wh=image_wh, select_feature=feature, projector_type="mlp_downsample")

    def build_and_run():
        pair = scratch(vision_tower={**TOWERS["siglip"], "image_size": image_wh[0]}, classic=classic)
        pair.model(**pair.batch(pair.four()))

    with pytest.raises(ConfigError, match=message):
        build_and_run()


def test_unknown_towers_are_refused(scratch):
    with pytest.raises(ConfigError, match=r"'vit' are not known.*clip_vision_model"):
        scratch(vision_tower={"model_type": "vit", "image_size": 32, "patch_size": 8, **LAYERS})


@pytest.mark.parametrize("image_wh", [(32, 32), (48, 24)], ids=str)
@pytest.mark.parametrize("tower", TOWERS)
def test_a_changed_patch_changes_the_feature_at_its_place_alone(planted_patch, scratch, tower, image_wh):
    # The input of the only layer is taken, so attention has mixed nothing yet.
    pair = scratch(
        vision_tower={**TOWERS[tower], "num_hidden_layers": 1}, classic=ClassicSettings(image_wh=image_wh)
    )
    planted_patch(pair, side=8, patches_wh=(image_wh[0] // 8, image_wh[1] // 8))


def test_picture_is_padded_or_stretched(scratch):
    picture = Image.new("RGB", (64, 32), "white")
    for ratio, corner in (("pad", False), ("square_nocrop", True)):
        pair = scratch(classic=ClassicSettings(image_wh=(32, 32), image_aspect_ratio=ratio))
        sample = pair.sample(Slot.IMAGE, Slot.REGION, "?", images=[picture], regions=[Box(0, 0, 64, 32)])
        pixels = sample["pixel_values"][0]
        assert torch.equal(pixels[:, 0, 0], pixels[:, 16, 16]) is corner
        low, high = sample["region_points"].amin((0, 1)), sample["region_points"].amax((0, 1))
        expected = (0.0, 1.0) if corner else (0.25, 0.75)
        assert low[1].item() == pytest.approx(expected[0], abs=0.03)
        assert high[1].item() == pytest.approx(expected[1], abs=0.03)
        assert (
            sample_grids(
                pair.model.encode_images(pixel_values=sample["pixel_values"]).grids,
                sample["region_points"],
                sample["region_image"],
                geometry="aligned",
            )
            .isfinite()
            .all()
        )


CONVOLUTIONAL = {
    "convnext": {"hidden_sizes": [8, 16, 32], "depths": [1, 1, 1], "num_stages": 3},
    "convnextv2": {"hidden_sizes": [8, 16, 32], "depths": [1, 1, 1], "num_stages": 3},
    "resnet": {"hidden_sizes": [8, 16, 32], "depths": [1, 1, 1], "embedding_size": 8, "layer_type": "basic"},
}


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_a_convolutional_tower(kind, scratch, tmp_path):
    tower = {"model_type": kind, **CONVOLUTIONAL[kind]}
    classic = ClassicSettings(image_wh=(64, 64), select_layer=-1)
    pair = scratch(vision_tower=tower, classic=classic)
    sample = pair.four()[2]
    assert int((sample["input_ids"] == pair.processor.image_token_id).sum()) == 16
    assert pair.model.encode_images(pixel_values=sample["pixel_values"]).grids.size_hw.tolist() == [[4, 4]]
    pair.model(**pair.batch(pair.four())).loss.backward()
    assert pair.model.base.model.place.weight.grad.any()
    check_round_trip(pair, tmp_path, pair.batch(pair.four()))


def test_a_convolutional_tower_from_elsewhere_gets_places_and_a_norm(as_pair, tmp_path):
    folders = save_parts(tmp_path, "llama", "resnet")
    classic = ClassicSettings(image_wh=(64, 64), select_layer=-1)
    pair = as_pair(*build_classic(*folders, version="v1", regions=REGIONS, classic=classic))
    with torch.no_grad():
        assert pair.model(**pair.batch(pair.four())).loss.isfinite()
    made = pair.model.base.model
    assert torch.equal(made.place.weight, made.place.waves())


def test_a_convolutional_tower_gives_its_last_map_only(scratch):
    tower = {"model_type": "resnet", **CONVOLUTIONAL["resnet"]}
    with pytest.raises(ConfigError, match="mm_vision_select_layer is -2, but the maps"):
        scratch(vision_tower=tower, classic=ClassicSettings(image_wh=(64, 64), select_layer=-2))
