"""Using a model: load it once, encode a picture once, ask many questions about it."""

from mustela.infer.generation import encode_pictures, generate_texts
from mustela.infer.predictor import Answer, Predictor
from mustela.infer.query import Exchange, Query, default_options, placeholder_numbers, render_query

__all__ = [
    "Answer",
    "Exchange",
    "Predictor",
    "Query",
    "default_options",
    "encode_pictures",
    "generate_texts",
    "placeholder_numbers",
    "render_query",
]
