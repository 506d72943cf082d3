"""Answers in batches: from encoded prompts to texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from mustela.data.collator import collate
from mustela.data.pictures import join_inputs
from mustela.data.processor import MustelaProcessor
from mustela.model import ImageFeatures, MustelaForConditionalGeneration

MAX_NEW_TOKENS = 256
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
}


def encode_pictures(
    model: MustelaForConditionalGeneration, samples: Sequence[Mapping[str, Tensor]]
) -> ImageFeatures:
    """Encode the pictures of samples (from the processor), to be used for many questions."""
    names = model.image_inputs
    inputs = join_inputs([{name: sample[name] for name in names if name in sample} for sample in samples])
    with torch.no_grad():
        return model.encode_images(**on_device(inputs, model))


def generate_texts(
    model: MustelaForConditionalGeneration,
    processor: MustelaProcessor,
    samples: Sequence[Mapping[str, Tensor]],
    *,
    image_features: ImageFeatures | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    **generation: Any,
) -> list[str]:
    """Answer a batch of encoded prompts, greedily unless `generation` says otherwise.

    Prompts are padded on the left, whatever the tokenizer's own habit, and the answers come without prompt,
    end token and stop strings. `image_features` holds the pictures of the batch in its order, when already
    encoded.
    """
    batch = collate(samples, pad_token_id=processor.pad_token_id, padding_side="left")
    if image_features is not None:
        batch = {name: value for name, value in batch.items() if not name.endswith("pixel_values")}
        generation["image_features"] = image_features
    template = processor.template
    ends = template.stop_token_ids(processor.tokenizer)
    settings: dict[str, Any] = {
        **GREEDY,
        "pad_token_id": processor.pad_token_id,
        "eos_token_id": list(ends) or None,
        "max_new_tokens": max_new_tokens,
    }
    prompt_length = batch["input_ids"].shape[1]
    # Stop strings that are one token are in `ends`.
    single = set(processor.tokenizer.convert_ids_to_tokens(list(ends)))
    stop = tuple(text for text in template.stop_strings if text not in single)
    if stop:
        settings["stopping_criteria"] = StoppingCriteriaList([_AtStrings(processor, stop, prompt_length)])
    with torch.no_grad():
        ids = model.generate(**on_device(batch, model), **{**settings, **generation})
    return [_until(processor.decode(row), stop) for row in ids[:, prompt_length:].tolist()]


class _AtStrings(StoppingCriteria):
    """Ends each answer of a batch at its first stop string, however many tokens that takes."""

    def __init__(self, processor: MustelaProcessor, stop: tuple[str, ...], prompt_length: int) -> None:
        self.processor = processor
        self.stop = stop
        self.prompt_length = prompt_length
        self.tail = max(len(text.encode()) for text in stop) + 1

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        new = input_ids[:, self.prompt_length :][:, -self.tail :].tolist()
        ended = [any(text in self.processor.decode(row) for text in self.stop) for row in new]
        return torch.tensor(ended, device=input_ids.device)


def _until(text: str, stop: Sequence[str]) -> str:
    places = [place for place in (text.find(item) for item in stop) if place >= 0]
    return text[: min(places, default=len(text))].strip()


def on_device(batch: Mapping[str, Tensor], model: MustelaForConditionalGeneration) -> dict[str, Tensor]:
    """Move a batch to the model; pictures take its dtype, coordinates stay in float32."""
    moved = {name: value.to(model.device) for name, value in batch.items()}
    return {
        name: value.to(model.dtype) if name.endswith("pixel_values") else value
        for name, value in moved.items()
    }
