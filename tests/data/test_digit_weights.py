from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from mustela.data.message import Message
from mustela.data.prompt import EncodedPrompt, coordinate_digit_weights, encode_prompt
from mustela.data.templates import get_template


def _encode(tokenizer: PreTrainedTokenizerFast, answer: str, question: str = "Where?") -> EncodedPrompt:
    prompt = get_template("v1", tokenizer=tokenizer).render(
        [Message("user", (question,)), Message("assistant", (answer,))],
        image_token="<image>",
        region_token="<region_fea>",
    )
    return encode_prompt(prompt, tokenizer, image_token="<image>", region_token="<region_fea>")


def _weighted(encoded: EncodedPrompt, weights: list[float]) -> list[tuple[str, float]]:
    text = encoded.prompt.text
    pairs = zip(encoded.offsets, weights, strict=True)
    return [(text[start:end], weight) for (start, end), weight in pairs if weight != 1.0]


def test_a_digit_weighs_by_its_place_value(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    encoded = _encode(tokenizers["legacy_llama"], "At [987, 65, 4, 100].")
    weights = coordinate_digit_weights(encoded)
    text = encoded.prompt.text
    start = text.index("[987")
    expected = {start + 2: 0.3, start + 3: 0.03, start + 6: 0.3, start + 7: 0.03, start + 10: 0.03}
    expected |= {start + 14: 0.3, start + 15: 0.03}
    for (first, last), weight in zip(encoded.offsets, weights, strict=True):
        digits = [place for place in range(first, last) if text[place].isdigit() and place > start]
        assert weight == (max(expected.get(place, 1.0) for place in digits) if digits else 1.0)
    assert len(weights) == len(encoded.input_ids)


def test_an_id_of_several_digits_gets_the_largest(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    # Whole numbers are one id here.
    encoded = _encode(tokenizers["word_level"], "[200, 56, 7, 42]")
    assert _weighted(encoded, coordinate_digit_weights(encoded)) == [("56", 0.3), ("7", 0.03), ("42", 0.3)]


def test_only_coordinates_of_answers_are_weighed(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    encoded = _encode(
        tokenizers["word_level"], "42 dogs in 1999, [12] and [1, x]", "Where is [56, 78, 90, 12]?"
    )
    assert _weighted(encoded, coordinate_digit_weights(encoded)) == []


def test_points_count_and_weights_can_be_chosen(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    encoded = _encode(tokenizers["word_level"], "[5, 42]")
    assert _weighted(encoded, coordinate_digit_weights(encoded, (1.0, 0.5, 0.1))) == [("5", 0.1), ("42", 0.5)]
