"""Weights of labels that make the leading digits of coordinates count most."""

from __future__ import annotations

import re

from mustela.data.encoding import EncodedPrompt

__all__ = ["coordinate_digit_weights"]

_COORDINATES = re.compile(r"[\[(]\s*\d{1,3}(?:\s*,\s*\d{1,3})+\s*[\])]")
_NUMBER = re.compile(r"\d+")


def coordinate_digit_weights(
    encoded: EncodedPrompt, weights: tuple[float, float, float] = (1.0, 0.3, 0.03)
) -> list[float]:
    """Return a weight for the label of each id.

    In the bracketed boxes and points of answers a digit weighs by its place value: of 123 the 1 weighs the
    first weight, the 2 the second, the 3 the third; of 87 the 8 weighs the second. The last digit of a
    coordinate is close to noise, and its loss would swamp the signal of the first. An id with several digits
    gets the largest of their weights; all that is not a digit of a coordinate weighs 1.

    Args:
        encoded: a prompt with its answers.
        weights: of hundreds, tens and units on the grid from 0 to 999.
    """
    digits: dict[int, float] = {}
    text = encoded.prompt.text
    for start, end in encoded.prompt.answers:
        for found in _COORDINATES.finditer(text, start, end):
            for number in _NUMBER.finditer(text, found.start(), found.end()):
                for position in range(number.start(), number.end()):
                    digits[position] = weights[3 - (number.end() - position)]
    result = [1.0] * len(encoded.input_ids)
    if digits:
        for first, last in encoded.answer_spans:
            for index in range(first, last):
                start, end = encoded.offsets[index]
                here = [digits[position] for position in range(start, end) if position in digits]
                if here:
                    result[index] = max(here)
    return result
