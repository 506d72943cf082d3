from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.prompt import EncodedPrompt, SampleTooLongError, encode_prompt, fit_rounds
from mustela.data.templates import get_template
from mustela.errors import CountMismatchError

TALK = [
    Message("user", (Slot.IMAGE, "\nWhat is ", Slot.REGION, "?")),
    Message("assistant", ("A dog.",)),
    Message("user", (Slot.IMAGE, "And ", Slot.REGION, " and ", Slot.REGION, "?")),
    Message("assistant", ("Two cats.",)),
    Message("user", ("Where?",)),
    Message("assistant", ("[1, 2, 3, 4]",)),
]
EACH_IMAGE = 16


def _encode(
    tokenizer: PreTrainedTokenizerFast, messages: list[Message], *, name: str = "v1", generation: bool = False
) -> EncodedPrompt:
    prompt = get_template(name, tokenizer=tokenizer).render(
        messages, image_token="<image>", region_token="<region_fea>", add_generation_prompt=generation
    )
    return encode_prompt(prompt, tokenizer, image_token="<image>", region_token="<region_fea>")


def _length(encoded: EncodedPrompt) -> int:
    return len(encoded.input_ids) + len(encoded.image_positions) * (EACH_IMAGE - 1)


def _fit(encoded: EncodedPrompt, limit: int) -> EncodedPrompt:
    return fit_rounds(encoded, [EACH_IMAGE] * len(encoded.image_positions), max_length=limit)


def test_what_fits_is_left_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = _encode(tokenizer, TALK)
    assert _fit(encoded, _length(encoded)) is encoded


@pytest.mark.parametrize("name", ["v0", "v1", "llama_2", "chatml"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_whole_last_rounds_go(name: str, rounds: int, tokenizer: PreTrainedTokenizerFast) -> None:
    shorter = _encode(tokenizer, TALK[: 2 * rounds], name=name)
    fitted = _fit(_encode(tokenizer, TALK, name=name), _length(shorter))
    assert fitted.input_ids == shorter.input_ids
    assert fitted.labels == shorter.labels
    assert fitted.answer_spans == shorter.answer_spans
    assert fitted.image_positions == shorter.image_positions
    assert fitted.region_positions == shorter.region_positions
    assert fitted.round_ends == shorter.round_ends


def test_one_id_too_many_costs_the_round(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    tokenizer = tokenizers["legacy_llama"]
    encoded = _encode(tokenizer, TALK)
    assert len(_fit(encoded, _length(encoded) - 1).round_ends) == 2


def test_an_open_question_at_the_end_goes_first(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    tokenizer = tokenizers["legacy_llama"]
    fitted = _fit(_encode(tokenizer, TALK[:3]), _length(_encode(tokenizer, TALK[:2])))
    assert len(fitted.image_positions) == 1
    assert any(label != IGNORE_INDEX for label in fitted.labels)


@pytest.mark.parametrize("limit", [12, 40])
def test_when_not_even_one_round_fits_both_numbers_are_told(
    limit: int, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> None:
    tokenizer = tokenizers["legacy_llama"]
    needed = _length(_encode(tokenizer, TALK[:2]))
    with pytest.raises(
        SampleTooLongError, match=f"needs {needed} ids.*model_max_length is {limit}"
    ) as caught:
        _fit(_encode(tokenizer, TALK), limit)
    assert (caught.value.needed, caught.value.limit) == (needed, limit)


def test_the_prompt_of_a_generation_is_never_shortened(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    encoded = _encode(tokenizers["legacy_llama"], TALK[:5], generation=True)
    with pytest.raises(SampleTooLongError):
        _fit(encoded, _length(encoded) - 1)


def test_lengths_belong_to_images(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    with pytest.raises(CountMismatchError, match="2 image tokens in the prompt, but 1 images"):
        fit_rounds(_encode(tokenizers["legacy_llama"], TALK), [EACH_IMAGE], max_length=100)
