"""Rows that are answered together and end one by one: what a server's batches are made of.

The base's own `generate` runs the steps. What differs from row to row (sampling, stop strings, the longest
answer, a client who has gone) is decided here, at each step, row by row; so the text of a row doesn't depend
on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from mustela.data.collator import collate
from mustela.data.processor import MustelaProcessor
from mustela.data.stopping import StopMatcher
from mustela.errors import ConfigError
from mustela.infer.generation import GREEDY, on_device
from mustela.infer.pieces import TextPieces
from mustela.model import ImageFeatures, MustelaForConditionalGeneration

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: the smallest set of tokens with this share of the probability is drawn from.
        seed: of the draws, together with `stream`; None: another answer each time.
        stream: tells the answers of one request apart.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stream: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.temperature < float("inf") and 0.0 < self.top_p <= 1.0):
            raise ConfigError(
                f"temperature is {self.temperature} and top_p {self.top_p}. The first is at least 0, the"
                " second above 0 and at most 1."
            )


class Row:
    """A prompt and the answer that grows behind it.

    Args:
        sample: the encoded prompt, from `MustelaProcessor.encode`; its image tensors are not needed.
        images: its encoded pictures, one each; see `ImageFeatures.split`.
        processor: the model's.
        max_new_tokens: the longest answer.
        stop: further strings at which it ends; they are not part of it.
        sampling: how tokens are chosen.
        on_text: called with each piece of text as soon as it is certain.

    Attributes:
        tokens: ids of the answer, end token included.
        finish_reason: None until the row has ended.
    """

    def __init__(
        self,
        sample: Mapping[str, Tensor],
        images: Sequence[ImageFeatures],
        processor: MustelaProcessor,
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self.sample = sample
        self.images = tuple(images)
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.sampling = sampling or Sampling()
        self._generator = _generator(self.sampling)
        self._max_new_tokens = max_new_tokens
        self._ends = frozenset(processor.template.stop_token_ids(processor.tokenizer))
        self._pieces = TextPieces(processor.tokenizer)
        self._matcher = StopMatcher([*processor.template.stop_strings, *stop])
        self._on_text = on_text
        self._said: list[str] = []
        self._blank = ""

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt, those of pictures included."""
        return int(self.sample["input_ids"].shape[0])

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return self.prompt_length + len(self.tokens)

    @property
    def text(self) -> str:
        """The answer as far as it is certain, without blanks at its ends."""
        return "".join(self._said)

    def cancel(self) -> None:
        """End the row as soon as the running step is done."""
        self.finish_reason = self.finish_reason or "cancelled"

    def add(self, token: int) -> None:
        """Take the next token of the answer, unless the row has ended."""
        if self.finish_reason is not None:
            return
        self.tokens.append(token)
        ended = token in self._ends
        if not ended:
            self._say(self._matcher.feed(self._pieces.add(token)))
        full = len(self.tokens) >= self._max_new_tokens
        if ended or full or self._matcher.finished:
            self._say(self._matcher.feed(self._pieces.rest()))
            self._say(self._matcher.finish())
            self.finish_reason = "stop" if ended or self._matcher.matched else "length"

    def choose(self, scores: Tensor) -> int:
        """Draw the next token of float scores `(V,)`."""
        if self.sampling.temperature == 0.0:
            return int(scores.argmax())
        # In double precision: the draw must not hang on rounding, which differs with the batch.
        chances = torch.softmax(scores.double().cpu() / self.sampling.temperature, dim=-1)
        ordered, order = chances.sort(descending=True, stable=True)
        sums = ordered.cumsum(0)
        kept = int((sums < self.sampling.top_p).sum()) + 1
        total = float(sums[min(kept, len(sums)) - 1])
        place = int(torch.searchsorted(sums, self._generator.random() * total, right=True))
        return int(order[min(place, kept - 1, len(order) - 1)])

    def _say(self, text: str) -> None:
        """Pass text on; blanks at the start and the end of an answer are not part of it."""
        text = self._blank + text if self._said else text.lstrip()
        certain = text.rstrip()
        self._blank = text[len(certain) :]
        if certain:
            self._said.append(certain)
            if self._on_text is not None:
                self._on_text(certain)


def decode_rows(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    rows: Sequence[Row],
    *,
    interrupt: Callable[[], bool] = lambda: False,
) -> None:
    """Let rows grow together until all have ended, or `interrupt` (asked after each step) says so.

    Rows that were interrupted go on where they were in the next call, in whatever company: the prompt and
    what was said so far are read again.
    """
    going = [row for row in rows if row.finish_reason is None]
    if not going:
        return
    batch = collate(
        [_so_far(row, model) for row in going], pad_token_id=processor.pad_token_id, padding_side="left"
    )
    inputs: dict[str, Any] = on_device(batch, model)
    pictures = [picture for row in going for picture in row.images]
    if pictures:
        inputs["image_features"] = ImageFeatures.join(pictures)
    growth = _Growth(going, interrupt)
    with torch.no_grad():
        model.generate(
            **inputs,
            **GREEDY,
            pad_token_id=processor.pad_token_id,
            eos_token_id=None,
            max_new_tokens=max(row._max_new_tokens - len(row.tokens) for row in going),
            logits_processor=LogitsProcessorList([_Choice(growth)]),
            stopping_criteria=StoppingCriteriaList([growth]),
        )


class _Choice(LogitsProcessor):
    """Leaves each row only the token that it has chosen itself."""

    def __init__(self, growth: _Growth) -> None:
        self.growth = growth

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        for index, row in enumerate(self.growth.rows):
            # A draw for nobody would change the next one.
            if row.sampling.temperature > 0.0 and row.finish_reason is None and not self.growth.over:
                token = row.choose(scores[index])
                scores[index] = float("-inf")
                scores[index, token] = 0.0
        return scores


class _Growth(StoppingCriteria):
    """Gives each row its new token, and ends all when none goes on or the caller interrupts."""

    def __init__(self, rows: Sequence[Row], interrupt: Callable[[], bool]) -> None:
        self.rows = rows
        self.interrupt = interrupt
        self.over = False

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        # transformers may take further steps before it looks at the result.
        if not self.over:
            for row, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
                row.add(token)
            self.over = all(row.finish_reason is not None for row in self.rows) or self.interrupt()
        ended = [self.over or row.finish_reason is not None for row in self.rows]
        return torch.tensor(ended, device=input_ids.device)


def _so_far(row: Row, model: MustelaForConditionalGeneration) -> dict[str, Tensor]:
    """Return the sample of a row, what was said behind the prompt, without its pictures' pixels."""
    pixels = set(model.image_inputs) - set(model.family.position_inputs)
    sample = {name: tensor for name, tensor in row.sample.items() if name not in pixels}
    said = torch.tensor(row.tokens, dtype=torch.long)
    sample["input_ids"] = torch.cat([sample["input_ids"], said])
    if "mm_token_type_ids" in sample:
        sample["mm_token_type_ids"] = torch.cat([sample["mm_token_type_ids"], torch.zeros_like(said)])
    return sample


def _generator(sampling: Sampling) -> np.random.Generator:
    if sampling.seed is None:
        return np.random.default_rng()
    return np.random.default_rng((sampling.seed % 2**64, sampling.stream))
