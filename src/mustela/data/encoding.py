"""Prompts as ids: one call of the tokenizer, and labels by spans recorded while the prompt was written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import lt
from typing import TYPE_CHECKING

from mustela.constants import IGNORE_INDEX
from mustela.data.control_tokens import ControlTokens
from mustela.data.message import Slot
from mustela.data.prompt_text import Prompt, Span
from mustela.errors import RecordError, TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["EncodedPrompt", "PromptEncoder", "encode_prompt"]


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as ids, with one id for each slot.

    Attributes:
        prompt: what was encoded.
        input_ids: T ids.
        labels: T ids, `IGNORE_INDEX` where nothing is supervised.
        offsets: T spans of characters in the text of the prompt; (0, 0) for what the tokenizer puts first.
        answer_spans: the positions of each answer, with the marker that ends it.
        image_positions: where the image tokens are.
        region_positions: where the region tokens are.
        round_ends: position after the last id of each answered round.
    """

    prompt: Prompt
    input_ids: list[int]
    labels: list[int]
    offsets: list[Span]
    answer_spans: tuple[Span, ...]
    image_positions: tuple[int, ...]
    region_positions: tuple[int, ...]
    round_ends: tuple[int, ...]


class PromptEncoder:
    """Turns prompts into ids with one tokenizer, which must not change meanwhile.

    Args:
        tokenizer: a fast tokenizer that knows both tokens.
        image_token: stands for a picture; exactly one id.
        region_token: stands for the features of a region; exactly one id.

    Raises:
        TemplateError: a token is not in the vocabulary, or the tokenizer gives no character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, image_token: str, region_token: str) -> None:
        self._tokenizer = tokenizer
        self._controls = ControlTokens(tokenizer, always=(image_token, region_token))
        self._is_plain = _is_plain(tokenizer)
        self._name = tokenizer.name_or_path or type(tokenizer).__name__
        self._slot_texts = {Slot.IMAGE: image_token, Slot.REGION: region_token}
        self._slot_ids = {
            slot: self._controls.id_of[text]
            for slot, text in self._slot_texts.items()
            if text in self._controls.id_of
        }

    def encode(self, prompt: Prompt, *, beginning: Sequence[int] = ()) -> EncodedPrompt:
        """Return the ids and labels of a prompt.

        `beginning` are ids to put in front, where the tokenizer puts none there itself.

        Raises:
            RecordError: the prompt is for training and nothing in it is supervised.
            TemplateError: a slot or an answer has no ids of its own.
        """
        if not prompt.is_generation and not prompt.answers:
            raise RecordError(
                "nothing to learn: the conversation has no answer; add one or remove the record from training"
            )
        ids, offsets = self._tokenize(prompt, beginning)
        slots = self._slot_positions(prompt, ids)
        spans = tuple(_answer_positions(prompt.answers, offsets))
        taken = {position for positions in slots.values() for position in positions}
        labels = [IGNORE_INDEX] * len(ids)
        for index, (start, end) in enumerate(spans):
            wanted = [position for position in range(start, end) if position not in taken]
            if not wanted:
                raise TemplateError(
                    f"template {prompt.template!r} with tokenizer {self._name!r}: answer {index} has no ids "
                    f"of its own in {prompt.text[-200:]!r}; use another template"
                )
            for position in wanted:
                labels[position] = ids[position]
        return EncodedPrompt(
            prompt=prompt,
            input_ids=ids,
            labels=labels,
            offsets=offsets,
            answer_spans=spans,
            image_positions=slots[Slot.IMAGE],
            region_positions=slots[Slot.REGION],
            round_ends=tuple(end for _, end in spans),
        )

    def _tokenize(self, prompt: Prompt, given: Sequence[int]) -> tuple[list[int], list[Span]]:
        ids, offsets = self._read(prompt.text)
        cuts = _crossed(prompt, offsets)
        if cuts or self._controls.any_misread(prompt.text, ids, offsets, prompt.literals):
            ids, offsets = self._controls.encode_apart(prompt.text, literals=prompt.literals, cuts=cuts)
            # A text that was taken for a control token may have hidden a token across an answer's border.
            more = _crossed(prompt, offsets)
            if more:
                cuts = sorted({*cuts, *more})
                ids, offsets = self._controls.encode_apart(prompt.text, literals=prompt.literals, cuts=cuts)
        beginning = self._controls.beginning or list(given)
        # Some templates write the beginning themselves.
        if beginning and ids[: len(beginning)] != beginning:
            ids = [*beginning, *ids]
            offsets = [*[(0, 0)] * len(beginning), *offsets]
        return ids, offsets

    def _read(self, text: str) -> tuple[list[int], list[Span]]:
        """Return what the tokenizer makes of a text, without what its wrapper does around that."""
        backend = self._tokenizer.backend_tokenizer
        plain = backend.truncation is None and backend.padding is None and not backend.encode_special_tokens
        if plain and self._is_plain:
            made = backend.encode(text, add_special_tokens=False)
            return made.ids, made.offsets
        encoding = self._tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            split_special_tokens=False,
            verbose=False,
        )
        return list(encoding["input_ids"]), list(encoding["offset_mapping"])

    def _slot_positions(self, prompt: Prompt, ids: list[int]) -> dict[Slot, tuple[int, ...]]:
        found: dict[Slot, tuple[int, ...]] = {}
        for slot, text in self._slot_texts.items():
            expected = sum(kind is slot for _, _, kind in prompt.slots)
            positions: tuple[int, ...] = ()
            if slot in self._slot_ids:
                positions = tuple(_positions(ids, self._slot_ids[slot]))
            if len(positions) != expected:
                remedy = "" if slot in self._slot_ids else f"; add {text!r} to the tokenizer as one token"
                raise TemplateError(
                    f"template {prompt.template!r} with tokenizer {self._name!r}: {expected} {slot.value} "
                    f"slots gave {len(positions)} ids of {text!r}{remedy}"
                )
            found[slot] = positions
        return found


def encode_prompt(
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerFast,
    *,
    image_token: str,
    region_token: str,
    beginning: Sequence[int] = (),
) -> EncodedPrompt:
    """Return the ids and labels of a prompt; see `PromptEncoder`, which is kept for the next call."""
    encoder = _encoder(tokenizer, len(tokenizer), image_token, region_token)
    return encoder.encode(prompt, beginning=beginning)


@lru_cache(maxsize=8)
def _encoder(
    tokenizer: PreTrainedTokenizerFast, _length: int, image_token: str, region_token: str
) -> PromptEncoder:
    # The length is part of the key because tokens may be added between two calls.
    return PromptEncoder(tokenizer, image_token=image_token, region_token=region_token)


def _positions(ids: list[int], wanted: int) -> Iterator[int]:
    position = -1
    for _ in range(ids.count(wanted)):
        position = ids.index(wanted, position + 1)
        yield position


def _is_plain(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Say whether a tokenizer's class leaves reading to the library of tokenizers."""
    from transformers import PreTrainedTokenizerFast

    kind, plain = type(tokenizer), PreTrainedTokenizerFast
    return (
        isinstance(tokenizer, plain)
        and kind.__call__ is plain.__call__
        and kind._encode_plus is plain._encode_plus
    )


def _crossed(prompt: Prompt, offsets: Sequence[Span]) -> list[int]:
    """Return the borders of answers that lie inside a token.

    Such a token would be another one in the prompt of a generation, which ends at the border.
    """
    borders = iter(sorted({border for span in prompt.answers for border in span}))
    border = next(borders, None)
    crossed: list[int] = []
    for start, end in offsets:
        while border is not None and border <= start:
            border = next(borders, None)
        while border is not None and border < end:
            crossed.append(border)
            border = next(borders, None)
    return crossed


def _answer_positions(answers: Sequence[Span], offsets: Sequence[Span]) -> Iterator[Span]:
    starts = _starts(offsets)
    position = 0
    for first, last in answers:
        begin = bisect_left(starts, first, position)
        position = bisect_left(starts, last, begin)
        yield begin, position


def _starts(offsets: Sequence[Span]) -> list[int]:
    """Return where each token starts.

    Post-processors that trim blanks leave a token of blanks alone with an empty span *behind* them; it starts
    where the token before it ends.
    """
    begins, ends = zip(*offsets, strict=True) if offsets else ((), ())
    if all(map(lt, begins, ends)):
        return list(begins)
    starts: list[int] = []
    previous = 0
    for start, end in offsets:
        starts.append(min(start, previous) if start == end else start)
        previous = max(previous, end)
    return starts
