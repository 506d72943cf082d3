"""Prompts: the text of a conversation, its ids and labels, and what is done before images join."""

from mustela.data.digit_weights import coordinate_digit_weights
from mustela.data.encoding import EncodedPrompt, PromptEncoder, encode_prompt
from mustela.data.prompt_text import Prompt
from mustela.data.rounds import SampleTooLongError, fit_rounds

__all__ = [
    "EncodedPrompt",
    "Prompt",
    "PromptEncoder",
    "SampleTooLongError",
    "coordinate_digit_weights",
    "encode_prompt",
    "fit_rounds",
]
