"""Tiny bases with Pixtral's encoder, which takes pictures of their own sizes."""

from __future__ import annotations

from typing import Any

import transformers as hf
from tests.model.tiny_parts import LAYERS, LLAMA, TinyBase, finish, tokenizer_of
from transformers import ProcessorMixin


class PixtralWithoutTorchvision(ProcessorMixin):
    """Lays out a picture's tokens as Pixtral's processor, which needs a package that the tests do without."""

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        self.image_token = "[IMG]"
        self.image_token_id = tokenizer.convert_tokens_to_ids("[IMG]")
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def replace_image_token(self, image_inputs: Any, image_idx: int, **_: Any) -> str:
        token = self.image_processor.patch_size["height"]
        height, width = (int(side) // token for side in image_inputs["image_sizes"][image_idx])
        return "[IMG_BREAK]".join(["[IMG]" * width] * height) + "[IMG_END]"


def _pixtral_parts(side: int) -> tuple[Any, Any]:
    """Make a processor with tokens of `side` pixels."""
    tokenizer = tokenizer_of(["[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    images = hf.PixtralImageProcessorPil(
        size={"longest_edge": 64}, patch_size={"height": side, "width": side}
    )
    return tokenizer, PixtralWithoutTorchvision(images, tokenizer)


def pixtral() -> TinyBase:
    tokenizer, processor = _pixtral_parts(4)
    tower = {"model_type": "pixtral", "image_size": 64, "patch_size": 4, "head_dim": 16, **LAYERS}
    settings = {
        "vision_config": tower,
        "image_token_id": processor.image_token_id,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }
    return TinyBase(*finish("llava", tokenizer, processor, "[IMG]", **settings), maps_rc=(16, 16))


def mistral3() -> TinyBase:
    tokenizer, processor = _pixtral_parts(8)
    vision = {"model_type": "pixtral", "image_size": 64, "patch_size": 4, "head_dim": 16, **LAYERS}
    text = {**LLAMA, "model_type": "mistral", "sliding_window": None}
    settings = {
        "vision_config": vision,
        "text_config": text,
        "image_token_id": processor.image_token_id,
        "spatial_merge_size": 2,
        "vision_feature_layer": -1,
    }
    return TinyBase(*finish("mistral3", tokenizer, processor, "[IMG]", **settings), maps_rc=(16, 16))
