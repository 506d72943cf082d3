"""The sequences of a sample: a conversation written, encoded, fitted to a length and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mustela.constants import REGION_TOKEN
from mustela.data.message import Slot
from mustela.data.pictures import PreparedImage
from mustela.data.processor_settings import ProcessorSettings
from mustela.data.prompt import EncodedPrompt, Prompt, coordinate_digit_weights, encode_prompt
from mustela.data.render import Rendered, RenderedRegion
from mustela.data.rounds import SampleTooLongError
from mustela.data.rounds_apart import join_rounds, rounds_apart
from mustela.data.slots import expand_slots, fit_with_regions
from mustela.data.templates import Template

DigitWeights = tuple[float, float, float]


@dataclass(frozen=True)
class SampleWriter:
    """Writes samples with a template and a tokenizer.

    Attributes:
        template: how conversations are written.
        tokenizer: the base's.
        image_token: what stands for a picture.
        settings: of the processor.
        region_token_id: id of the region token, or None.
        begin_token_id: id that stands behind the pictures of the first question, or before a text without
            any; None: the tokenizer puts its own before all.
    """

    template: Template
    tokenizer: Any
    image_token: str
    settings: ProcessorSettings
    region_token_id: int | None
    begin_token_id: int | None = None

    def write(
        self,
        rendered: Rendered,
        pictures: Sequence[PreparedImage],
        *,
        max_length: int | None,
        generation: bool = False,
        digit_weights: DigitWeights | None = None,
        separate_rounds: bool = False,
    ) -> tuple[dict[str, Tensor], list[RenderedRegion], Sequence[PreparedImage]]:
        """Return the sequences of a sample, and the regions and pictures that were kept."""
        conversations = rounds_apart(rendered) if separate_rounds and not generation else [rendered]
        encoded: list[EncodedPrompt] = []
        for each in conversations:
            try:
                encoded.append(self._fitted(each, pictures, max_length=max_length, generation=generation))
            except SampleTooLongError:
                if not encoded:
                    raise
                break
        pictures = pictures[: len(encoded[0].image_positions)]
        samples = [
            expand_slots(
                each,
                self._expansions(each.prompt, pictures),
                coordinate_digit_weights(each, digit_weights) if digit_weights else None,
                region_length=self.settings.tokens_per_region,
            )
            for each in encoded
        ]
        regions = [
            region
            for each, one in zip(encoded, conversations, strict=False)
            for region in one.regions[: len(each.region_positions)]
        ]
        sample = samples[0]
        if len(samples) > 1:
            sample, rounds = join_rounds(samples, region_token_id=self.region_token_id, max_length=max_length)
            regions = [region for one in conversations[:rounds] for region in one.regions]
        return sample, regions, pictures

    def _fitted(
        self,
        rendered: Rendered,
        pictures: Sequence[PreparedImage],
        *,
        max_length: int | None,
        generation: bool,
    ) -> EncodedPrompt:
        """Write and encode a conversation; whole last rounds are dropped to keep to the length."""
        prompt = self.template.render(
            rendered.messages,
            image_token=self.image_token,
            region_token=self.settings.region_token or REGION_TOKEN,
            add_generation_prompt=generation,
            mm_use_im_start_end=self.settings.mm_use_im_start_end,
        )
        encoded = encode_prompt(
            prompt,
            self.tokenizer,
            image_token=self.image_token,
            region_token=self.settings.region_token or REGION_TOKEN,
            beginning=() if self.begin_token_id is None or _opening(prompt) else (self.begin_token_id,),
        )
        if max_length is None:
            return encoded
        return fit_with_regions(
            encoded,
            rendered,
            [len(expansion) for expansion in self._expansions(prompt, pictures)],
            max_length,
            region_length=self.settings.tokens_per_region,
        )

    def _expansions(self, prompt: Prompt, pictures: Sequence[PreparedImage]) -> list[Sequence[int]]:
        """Return the ids of each picture, with the beginning behind those of the first question."""
        expansions = [picture.expansion for picture in pictures]
        opening = _opening(prompt)
        if self.begin_token_id is not None and opening:
            expansions[opening - 1] = [*expansions[opening - 1], self.begin_token_id]
        return expansions


def _opening(prompt: Prompt) -> int:
    """Return how many pictures stand before the first answer."""
    end = prompt.answers[0][0] if prompt.answers else len(prompt.text)
    return sum(kind is Slot.IMAGE and start < end for start, _, kind in prompt.slots)
