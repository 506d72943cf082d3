"""Tokenizers: the tokens that mustela adds, and a tokenizer trained from nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.templates import Template

_CONTROL = re.compile(r"<\|[^|<>\s]+\|>|</?\w+>")


def token_id(token: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of a token that the tokenizer has."""
    return int(tokenizer.convert_tokens_to_ids(token))  # type: ignore[arg-type]


def added_tokens(
    *,
    region: str | None,
    image: str | None = IMAGE_PLACEHOLDER,
    patch: str | None = None,
    marks: Sequence[str] = (),
) -> list[str]:
    """List the tokens to add, in the original's order: patch, region, picture marks; then the image token."""
    return [token for token in (patch, region, *marks, image) if token]


def add_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> None:
    """Add control tokens that the tokenizer doesn't have yet, in order."""
    known = tokenizer.get_added_vocab()
    missing = [token for token in tokens if token not in known]
    # All but the image token swallow the blanks round them, as the original's tokenizer made them do.
    tokenizer.add_tokens(
        [
            AddedToken(token, special=True, normalized=False, lstrip=strip, rstrip=strip)
            for token in missing
            for strip in [token != IMAGE_PLACEHOLDER]
        ],
        special_tokens=True,
    )


def control_strings(template: Template) -> list[str]:
    """List what looks like a control token in a template's text: `<|user|>`, `</s>`, `<start_of_turn>`."""
    layout = template.to_json()["layout"]
    found: list[str] = []
    for key, value in layout.items():
        if key != "system":
            for text in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
                found += _CONTROL.findall(text)
    return list(dict.fromkeys(found))


# Texts to learn from have placeholders where boxes will stand.
_BOXES = tuple(f" [{digit}, {digit}, {digit}, {digit}]" for digit in range(10))


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, control_tokens: Sequence[str], end_token: str
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that gives every digit a token of its own.

    Args:
        texts: what it learns from.
        vocab_size: tokens at most, the 256 bytes and the control tokens among them.
        control_tokens: tokens of the template, pictures and regions.
        end_token: what ends an answer; it is the end of sequence, padding is a token of its own.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r", (?=\d)|\d| ?[^\s\d\w]|\s?[^\W\d]+|\s"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", *dict.fromkeys([end_token, *control_tokens])]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain(texts, _BOXES), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end_token, pad_token="<|pad|>")
