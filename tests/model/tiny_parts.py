"""What the tiny bases are made of."""

from __future__ import annotations

from collections.abc import Sequence
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
