"""Tokenizers of every kind and a processor, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlavaProcessor, PreTrainedTokenizerFast, SiglipImageProcessorPil

from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.templates import get_template
from mustela.model.tokens import train_tokenizer

IMAGE_TOKEN = "<image>"
REGION_TOKEN = "<region_fea>"

_CORPUS = [
    "A chat between a curious user and an AI that understands visuals. USER: What is this? ASSISTANT: Yes.",
    "two words [100, 200, 300, 400] no a dog, a cat near the red star; the object in the picture is 56789.",
    "system assistant human Human: Assistant: ### [INST] it's the answer",
] * 20


def _add_ours(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)])
    # As the original adds it: blanks on both sides go with the token.
    tokenizer.add_tokens([AddedToken(REGION_TOKEN, lstrip=True, rstrip=True, normalized=False, special=True)])
    return tokenizer


def legacy_llama() -> PreTrainedTokenizerFast:
    """BPE with byte fallback and a dummy prefix for each chunk between control tokens; unk is pad."""
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, limit_alphabet=120)
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    raw.train_from_iterator(_CORPUS, trainer)
    learned = json.loads(raw.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[tuple(pair) for pair in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = raw.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _add_ours(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            pad_token="<unk>",
        )
    )


def unigram() -> PreTrainedTokenizerFast:
    """Unigram whose vocabulary holds the control tokens as pieces that win wherever they fit."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
        initial_alphabet=[chr(code) for code in range(33, 127)],
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _add_ours(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
        )
    )


def _byte_level(
    special: list[str], *, trim_offsets: bool, bos: str | None, eos: str
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, special.index(bos))]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=special[0]
    )
    made.add_tokens(["<think>", "</think>"])
    return _add_ours(made)


def chatml() -> PreTrainedTokenizerFast:
    """Byte-level BPE without a beginning of sequence."""
    return _byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], trim_offsets=False, bos=None, eos="<|im_end|>"
    )


def pad_is_eos() -> PreTrainedTokenizerFast:
    """Byte-level BPE that knows one control token, and trims blanks off its offsets."""
    return _byte_level(["<|endoftext|>"], trim_offsets=True, bos=None, eos="<|endoftext|>")


def llama_3() -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts a beginning in front."""
    special = ["<|pad|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return _byte_level(special, trim_offsets=False, bos="<|begin_of_text|>", eos="<|eot_id|>")


def word_level() -> PreTrainedTokenizerFast:
    """Whole words and punctuation; blanks have no ids and unknown words are unk."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<pad>", "<unk>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _add_ours(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
        )
    )


_MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "legacy_llama": legacy_llama,
    "unigram": unigram,
    "chatml": chatml,
    "pad_is_eos": pad_is_eos,
    "llama_3": llama_3,
    "word_level": word_level,
}


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """All of them, by name; a test that changes one makes its own."""
    return {name: make() for name, make in _MAKERS.items()}


@pytest.fixture(params=list(_MAKERS))
def tokenizer(
    request: pytest.FixtureRequest, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> PreTrainedTokenizerFast:
    """Each of them in turn."""
    return tokenizers[request.param]


def small_processor(template: str = "compact", **settings: Any) -> MustelaProcessor:
    """Make the processor of a classic composition that reads 4 x 4 patches of 32 x 32 pixels."""
    control = ["<image>", "<region_fea>", "<|user|>", "<|assistant|>"]
    tokenizer = train_tokenizer(_CORPUS, vocab_size=330, control_tokens=control, end_token="<|end|>")
    base = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(do_resize=False, size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    )
    values = {
        "region_points": 16,
        "image_aspect_ratio": "square_nocrop",
        "resized_image_wh": (32, 32),
        **settings,
    }
    return MustelaProcessor(base, get_template(template, tokenizer=tokenizer), ProcessorSettings(**values))


@pytest.fixture
def make_processor() -> Callable[..., MustelaProcessor]:
    """Makes a processor of a template and of settings."""
    return small_processor


@pytest.fixture(scope="session")
def processor() -> MustelaProcessor:
    """A processor that no test changes."""
    return small_processor()
