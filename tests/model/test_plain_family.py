"""Bases without an entry of their own."""

from __future__ import annotations

import pytest
import torch
from tests.model.tiny_parts import LLAMA, SIGLIP
from transformers import AutoConfig, AutoModelForImageTextToText, BlipConfig, PretrainedConfig

from mustela.errors import ConfigError
from mustela.model.families import family_of
from mustela.model.image_features import encode_images
from mustela.model.plain_family import PLAIN


def config_of(kind, **changes):
    return AutoConfig.for_model(
        kind, text_config={**LLAMA, "vocab_size": 64}, vision_config=SIGLIP, image_token_id=3, **changes
    )


def test_image_tokens_that_are_a_square_of_patches_are_the_grid():
    base = AutoModelForImageTextToText.from_config(config_of("deepseek_vl")).eval()
    assert family_of(base.config) is PLAIN
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = encode_images(base, {"pixel_values": pictures})
    assert features.grids.size_hw.tolist() == [[8, 8], [8, 8]]
    torch.testing.assert_close(features.grids.table[64:], features.tokens[1].flatten(0, -2))
    assert features.grids.table.shape[1] == PLAIN.channels(base.config)
    assert set(PLAIN.blank(base.config)) == {"pixel_values"}


class Model:
    """What a base would be whose image tokens are no square."""

    def __init__(self, tokens, config):
        self.config, self.tokens, self.model = config, tokens, self

    def get_image_features(self, pixel_values, **_):
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        return BaseModelOutputWithPooling(pooler_output=torch.zeros(len(pixel_values), self.tokens, 32))


@pytest.mark.parametrize("tokens", [32, 65, 63])
def test_other_numbers_of_tokens_are_refused(tokens):
    base = Model(tokens, config_of("deepseek_vl"))
    with pytest.raises(ConfigError, match=rf"'deepseek_vl' makes {tokens} image tokens of 8 x 8 patches"):
        encode_images(base, {"pixel_values": torch.zeros(1, 3, 32, 32)})


class Unknown(PretrainedConfig):
    model_type = "nobody_knows"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BlipConfig(), "mm_encoder_outputs|get_image_features"),
        (Unknown(), "no image-text-to-text model of this type"),
        (config_of("llava_next_video"), "how its pictures lie in pixel_values, image_sizes is not known"),
        (AutoConfig.for_model("idefics2"), "queries about the whole picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.model_type,
)
def test_what_is_missing_is_told(config, reason):
    with pytest.raises(ConfigError, match=rf"'{config.model_type}': .*({reason}).*Known: .*qwen3_vl"):
        family_of(config)
