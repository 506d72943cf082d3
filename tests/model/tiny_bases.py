"""Tiny ready bases of random numbers, one of each family, with processors made of their own classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import transformers as hf
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast, ProcessorMixin

from mustela.model.tokens import train_tokenizer

TEXTS = ["What is this? a red star [1, 2, 3, 4]. Where is the blue circle? Yes. No. Name it."] * 5
LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {
    "model_type": "llama",
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    **LAYERS,
}
CLIP = {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 4, "projection_dim": 32, **LAYERS}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "image_size": 32,
    "patch_size": 4,
    "vision_use_head": False,
    **LAYERS,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
WINDOWS = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
SQUARE = {"height": 32, "width": 32}
CANVASES = [[32, 64], [64, 32], [64, 64], [32, 96]]

START, END = "<|im_start|>", "<|im_end|>"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}PICTURE{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyBase:
    """A base and its processor.

    Attributes:
        maps_rc: rows and columns of its grid for a picture of 64 x 64.
    """

    base: Any
    processor: Any
    maps_rc: tuple[int, int] = (8, 8)


def tokenizer_of(tokens: Sequence[str], **named: str) -> PreTrainedTokenizerFast:
    """Train a tokenizer; `named` become attributes, as `image_token`."""
    plain = train_tokenizer(TEXTS, vocab_size=360, control_tokens=[START, *tokens], end_token=END)
    return PreTrainedTokenizerFast(
        tokenizer_object=plain.backend_tokenizer,
        eos_token=END,
        pad_token="<|pad|>",
        extra_special_tokens=named,
    )


def pictures_only(processor_class: Any, image_processor: Any, tokenizer: Any, **own: Any) -> Any:
    """Make a processor without its video and audio parts, which need packages that the tests do without."""

    def begin(self: Any, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        self.__dict__.update(own)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    attributes = classmethod(lambda _: ["image_processor", "tokenizer"])
    kind = type(
        processor_class.__name__, (processor_class,), {"__init__": begin, "get_attributes": attributes}
    )
    return kind(image_processor, tokenizer)


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


def finish(model_type: str, tokenizer: Any, processor: Any, picture: str, **config: Any) -> tuple[Any, Any]:
    """Make the model and give the processor a chat template that writes `picture` for a picture."""
    processor.chat_template = CHAT.replace("PICTURE", picture)
    sizes = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config["text_config"] = {**config.get("text_config", LLAMA), **sizes, "bos_token_id": None}
    # Some configurations change the dictionaries that they are made of.
    made = hf.AutoConfig.for_model(model_type, **deepcopy(config))
    return AutoModelForImageTextToText.from_config(made), processor


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


BASES: dict[str, Callable[[], TinyBase]] = {
    make.__name__: make
    for make in (
        llava,
        pixtral,
        vipllava,
        llava_next,
        llava_onevision,
        qwen2_vl,
        qwen2_5_vl,
        qwen3_vl,
        qwen3_5,
        glm4v,
        glm46v,
        idefics3,
        smolvlm,
        paligemma,
        gemma3,
        gemma4,
        internvl,
        mistral3,
    )
}
