"""Robustness of answers about regions: figures of our own, for any model."""

from mustela.evaluate.robustness.asking import Ask, evaluate_robustness
from mustela.evaluate.robustness.figures import VariantAnswer, score_robustness
from mustela.evaluate.robustness.variants import FAMILIES, PARAPHRASES, Variant, variants_of

__all__ = [
    "FAMILIES",
    "PARAPHRASES",
    "Ask",
    "Variant",
    "VariantAnswer",
    "evaluate_robustness",
    "score_robustness",
    "variants_of",
]
