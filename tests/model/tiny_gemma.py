"""Tiny Gemma 3 and 4."""

from __future__ import annotations

import transformers as hf
from tests.model.tiny_parts import LAYERS, SIGLIP, SQUARE, TinyBase, finish, pictures_only, tokenizer_of

GEMMA_MARKS = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}
GEMMA_TEXT = {
    **LAYERS,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "sliding_window": 16,
    "max_position_embeddings": 2048,
    "layer_types": ["sliding_attention", "full_attention"],
}


def gemma3() -> TinyBase:
    tokenizer = tokenizer_of(list(GEMMA_MARKS.values()), **GEMMA_MARKS)
    processor = hf.Gemma3Processor(hf.Gemma3ImageProcessorPil(size=SQUARE), tokenizer, image_seq_length=16)
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(GEMMA_MARKS[f"{kind}_token"])
        for kind in ("image", "boi", "eoi")
    }
    settings = {"vision_config": SIGLIP, "text_config": GEMMA_TEXT, "mm_tokens_per_image": 16, **ids}
    return TinyBase(*finish("gemma3", tokenizer, processor, "<start_of_image>", **settings))


def gemma4() -> TinyBase:
    marks = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    tokenizer = tokenizer_of([*marks.values(), "<|video|>"], **marks)
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(marks[f"{kind}_token"])
        for kind in ("image", "boi", "eoi")
    }
    images = hf.Gemma4ImageProcessorPil(patch_size=2, pooling_kernel_size=3, max_soft_tokens=70)
    own = {
        **marks,
        "image_token_id": ids["image_token_id"],
        "audio_token": None,
        "boa_token": "",
        "eoa_token": "",
    }
    processor = pictures_only(hf.Gemma4Processor, images, tokenizer, **own)
    vision = {
        **LAYERS,
        "head_dim": 16,
        "num_key_value_heads": 2,
        "patch_size": 2,
        "pooling_kernel_size": 3,
        "position_embedding_size": 64,
    }
    text = {
        **GEMMA_TEXT,
        "vocab_size_per_layer_input": len(tokenizer),
        "hidden_size_per_layer_input": 8,
        "global_head_dim": 16,
        "num_kv_shared_layers": 0,
        "use_bidirectional_attention": "vision",
    }
    settings = {"vision_config": vision, "text_config": text, "audio_config": None, **ids}
    return TinyBase(*finish("gemma4", tokenizer, processor, "<|image|>", **settings))
