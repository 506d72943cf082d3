"""Tiny bases that take squares: one picture, or an overview and tiles."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import transformers as hf
from tests.model.tiny_parts import (
    CANVASES,
    CLIP,
    LAYERS,
    SIGLIP,
    SQUARE,
    TinyBase,
    finish,
    pictures_only,
    tokenizer_of,
)


def llava(model_type: str = "llava", **more: Any) -> TinyBase:
    tokenizer = tokenizer_of(["<image>"])
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    processor = hf.LlavaProcessor(
        images,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    settings = {"vision_config": CLIP, "image_token_id": processor.image_token_id, "vision_feature_layer": -2}
    return TinyBase(*finish(model_type, tokenizer, processor, "<image>", **settings | more))


def vipllava() -> TinyBase:
    return llava(model_type="vipllava", vision_feature_layers=[-1, -2, 0], vision_feature_layer=[-1, -2, 0])


def llava_next() -> TinyBase:
    tokenizer = tokenizer_of(["<image>"])
    images = hf.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=SQUARE, image_grid_pinpoints=CANVASES
    )
    processor = hf.LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    settings = {
        "vision_config": CLIP,
        "image_token_id": processor.image_token_id,
        "image_grid_pinpoints": CANVASES,
    }
    return TinyBase(*finish("llava_next", tokenizer, processor, "<image>", **settings), maps_rc=(16, 16))


def llava_onevision() -> TinyBase:
    tokenizer = tokenizer_of(["<image>", "<video>"])
    canvases = [[32, 32], *CANVASES]
    images = hf.LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=canvases)
    ids = {f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<{kind}>") for kind in ("image", "video")}
    own = {
        "num_image_tokens": 64,
        "vision_feature_select_strategy": "full",
        "vision_aspect_ratio": "anyres_max_9",
        "image_token": "<image>",
        "video_token": "<video>",
        **ids,
    }
    processor = pictures_only(hf.LlavaOnevisionProcessor, images, tokenizer, **own)
    settings = {"vision_config": SIGLIP, "image_grid_pinpoints": canvases, "vision_feature_layer": -1, **ids}
    return TinyBase(*finish("llava_onevision", tokenizer, processor, "<image>", **settings), maps_rc=(16, 16))


IDEFICS_TOKENS = [
    "<image>",
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)),
]


def _idefics(model_type: str, images: Any, make: Callable[[Any, Any], Any]) -> TinyBase:
    tokenizer = tokenizer_of(IDEFICS_TOKENS)
    processor = make(images, tokenizer)
    vision = {"image_size": 32, "patch_size": 4, **LAYERS}
    settings = {
        "vision_config": vision,
        "scale_factor": 2,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
    }
    return TinyBase(*finish(model_type, tokenizer, processor, "<image>", **settings), maps_rc=(16, 16))


SPLIT = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}


def idefics3() -> TinyBase:
    return _idefics(
        "idefics3",
        hf.Idefics3ImageProcessorPil(**SPLIT),
        lambda images, tokenizer: hf.Idefics3Processor(images, tokenizer, image_seq_len=16),
    )


def smolvlm() -> TinyBase:
    def make(images: Any, tokenizer: Any) -> Any:
        own = {
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "global_image_token": "<global-img>",
            "image_seq_len": 16,
            "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
            "video_token": "<video>",
        }
        return pictures_only(hf.SmolVLMProcessor, images, tokenizer, **own)

    return _idefics("smolvlm", hf.SmolVLMImageProcessorPil(**SPLIT), make)


def paligemma() -> TinyBase:
    tokenizer = tokenizer_of(["<image>", "<bos>"], image_token="<image>", bos_token="<bos>")
    images = hf.SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = 64
    processor = hf.PaliGemmaProcessor(images, tokenizer)
    text = {
        "model_type": "gemma2",
        **LAYERS,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 16,
        "tie_word_embeddings": True,
    }
    settings = {
        "vision_config": SIGLIP,
        "text_config": text,
        "projection_dim": 32,
        "image_token_id": processor.image_token_id,
    }
    made = finish("paligemma", tokenizer, processor, "<image>", **settings)
    processor.chat_template = None
    return TinyBase(*made)


def internvl() -> TinyBase:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = tokenizer_of(list(named.values()), **named)
    images = hf.GotOcr2ImageProcessorPil(size=SQUARE, max_patches=4)
    own = {
        "image_seq_length": 16,
        "image_token": "<IMG_CONTEXT>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
        "image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    }
    own |= {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(own[f"{name}_token"])
        for name in ("start_image", "end_image")
    }
    own["multimodal_pattern"] = re.compile("(?P<image><IMG_CONTEXT>)")
    processor = pictures_only(hf.InternVLProcessor, images, tokenizer, **own)
    vision = {"model_type": "internvl_vision", "image_size": [32, 32], "patch_size": [4, 4], **LAYERS}
    settings = {"vision_config": vision, "image_token_id": own["image_token_id"], "downsample_ratio": 0.5}
    return TinyBase(*finish("internvl", tokenizer, processor, "<IMG_CONTEXT>", **settings), maps_rc=(16, 16))
