"""Tiny bases that take pictures of their own sizes, in windows of patches."""

from __future__ import annotations

from typing import Any

import transformers as hf
from tests.model.tiny_parts import LAYERS, MROPE, WINDOWS, TinyBase, finish, pictures_only, tokenizer_of


def _native(
    model_type: str,
    processor_class: Any,
    images: Any,
    *,
    vision: dict[str, Any],
    text: dict[str, Any],
    marks: dict[str, str],
    maps_rc: tuple[int, int],
) -> TinyBase:
    tokenizer = tokenizer_of(list(marks.values()))
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    own = {"image_token": marks["image"], "video_token": marks["video"]}
    own |= {f"{name}_id": ids.get(f"{name}_token_id") for name in ("video_start", "video_end")}
    processor = pictures_only(
        processor_class,
        images,
        tokenizer,
        **own,
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
    )
    names = [name for name in marks if name not in ("image", "video")]
    picture = marks["image"].join(marks[name] for name in names[:2]) if len(names) > 1 else marks["image"]
    return TinyBase(
        *finish(model_type, tokenizer, processor, picture, vision_config=vision, text_config=text, **ids),
        maps_rc=maps_rc,
    )


QWEN_MARKS = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
QWEN_TEXT = {
    **LAYERS,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 2048,
    "rope_parameters": MROPE,
    "tie_word_embeddings": False,
}


def _qwen(
    model_type: str, processor_class: Any, vision: dict[str, Any], text: dict[str, Any] = QWEN_TEXT
) -> TinyBase:
    images = hf.Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=64, max_pixels=64 * 64
    )
    return _native(
        model_type,
        processor_class,
        images,
        vision={**WINDOWS, **vision},
        text=text,
        marks=QWEN_MARKS,
        maps_rc=(16, 16),
    )


def qwen2_vl() -> TinyBase:
    return _qwen("qwen2_vl", hf.Qwen2VLProcessor, {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2})


def qwen2_5_vl() -> TinyBase:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    return _qwen("qwen2_5_vl", hf.Qwen2_5_VLProcessor, vision)


def qwen3_vl() -> TinyBase:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    return _qwen("qwen3_vl", hf.Qwen3VLProcessor, vision)


def qwen3_5() -> TinyBase:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
    }
    text = {
        **QWEN_TEXT,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    }
    return _qwen("qwen3_5", hf.Qwen3VLProcessor, vision, text)


def _glm(model_type: str, processor_class: Any, images: Any) -> TinyBase:
    marks = {
        "image": "<|image|>",
        "video": "<|video|>",
        "image_start": "<|begin_of_image|>",
        "image_end": "<|end_of_image|>",
    }
    vision = {
        **WINDOWS,
        **{k: v for k, v in LAYERS.items() if k != "num_hidden_layers"},
        "out_hidden_size": 32,
        "image_size": 32,
    }
    text = {**QWEN_TEXT, "num_key_value_heads": 2}
    marks |= {"video_start": "<|begin_of_video|>", "video_end": "<|end_of_video|>"}
    return _native(model_type, processor_class, images, vision=vision, text=text, marks=marks, maps_rc=(8, 8))


def glm4v() -> TinyBase:
    images = hf.Glm4vImageProcessorPil(
        patch_size=4,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 64, "longest_edge": 2 * 64 * 64},
    )
    return _glm("glm4v", hf.Glm4vProcessor, images)


def glm46v() -> TinyBase:
    images = hf.Glm46VImageProcessorPil(
        patch_size=4,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 64, "longest_edge": 2 * 64 * 64},
    )
    return _glm("glm46v", hf.Glm46VProcessor, images)
