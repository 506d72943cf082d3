"""Answers in batches: from encoded prompts to texts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from mustela.data.collator import collate
from mustela.data.pictures import join_inputs
from mustela.data.processor import MustelaProcessor
from mustela.errors import ConfigError
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
    encoded. A `temperature`, `top_p` or `top_k` asks for sampling.

    Raises:
        ConfigError: `generation` asks for more than one text a prompt.
    """
    _check_generation(generation)
    if generation.get("temperature") or generation.get("top_p") or generation.get("top_k"):
        generation.setdefault("do_sample", True)
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


def _check_generation(generation: Mapping[str, Any]) -> None:
    if generation.get("num_return_sequences", 1) != 1:
        raise ConfigError(
            f"num_return_sequences is {generation['num_return_sequences']}, but a question has one answer:"
            " ask several times with do_sample=True."
        )
    if generation.get("return_dict_in_generate"):
        raise ConfigError("return_dict_in_generate: answers are texts. Call the model's generate for more.")


def room_for_answers(model: MustelaForConditionalGeneration, samples: Sequence[Mapping[str, Tensor]]) -> int:
    """Return how many tokens the model takes behind the longest of encoded prompts.

    Raises:
        ConfigError: there is no room.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return sys.maxsize
    longest = max(len(sample["input_ids"]) for sample in samples)
    if longest >= context:
        raise ConfigError(
            f"a prompt has {longest} tokens, but the model takes {context} together with the answer. Shorten"
            " the question or its history."
        )
    return int(context) - longest


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
