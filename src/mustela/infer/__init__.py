"""Using a model: load it once, encode a picture once, ask many questions about it."""

from mustela.infer.decoding import Row, Sampling, decode_rows
from mustela.infer.generation import MAX_NEW_TOKENS, encode_pictures, generate_texts, on_device
from mustela.infer.predictor import Answer, Predictor
from mustela.infer.query import (
    Exchange,
    Query,
    check_in_picture,
    default_options,
    placeholder_numbers,
    question_parts,
    region_indices,
    render_query,
)

__all__ = [
    "MAX_NEW_TOKENS",
    "Answer",
    "Exchange",
    "Predictor",
    "Query",
    "Row",
    "Sampling",
    "check_in_picture",
    "decode_rows",
    "default_options",
    "encode_pictures",
    "generate_texts",
    "on_device",
    "placeholder_numbers",
    "question_parts",
    "region_indices",
    "render_query",
]
