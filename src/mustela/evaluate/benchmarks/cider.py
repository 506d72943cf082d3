"""CIDEr-D: how much a caption says what people say of the same thing.

Vedantam et al. 2015, CIDEr: Consensus-based Image Description Evaluation, as the COCO caption server computes
it: n-grams of 1 to 4 words, tf-idf weights with the document frequencies of the references at hand, counts
clipped to the reference's, a Gaussian penalty for another length (sigma 6), times 10.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

_LONGEST = 4
_SIGMA = 6.0
MOST = 10.0

Ngrams = Counter[tuple[str, ...]]


def score_cider(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> list[float]:
    """Return CIDEr-D of every caption, 0 to 10.

    Args:
        candidates: the words of each caption.
        references: for each caption the words of its references, at least one.
    """
    counted = [[_ngrams(words) for words in each] for each in references]
    frequency: Counter[tuple[str, ...]] = Counter()
    for each in counted:
        frequency.update({ngram for ngrams in each for ngram in ngrams})
    documents = math.log(max(1, len(references)))
    return [
        _one(_ngrams(words), each, frequency, documents)
        for words, each in zip(candidates, counted, strict=True)
    ]


def _ngrams(words: Sequence[str]) -> Ngrams:
    return Counter(
        tuple(words[start : start + size])
        for size in range(1, _LONGEST + 1)
        for start in range(len(words) - size + 1)
    )


def _one(said: Ngrams, references: Sequence[Ngrams], frequency: Ngrams, documents: float) -> float:
    vectors, norms, length = _weighted(said, frequency, documents)
    total = 0.0
    for reference in references:
        other, other_norms, other_length = _weighted(reference, frequency, documents)
        penalty = math.exp(-((length - other_length) ** 2) / (2 * _SIGMA**2))
        for size in range(_LONGEST):
            if norms[size] and other_norms[size]:
                overlap = sum(
                    min(weight, other[size].get(ngram, 0.0)) * other[size].get(ngram, 0.0)
                    for ngram, weight in vectors[size].items()
                )
                total += penalty * overlap / (norms[size] * other_norms[size])
    return MOST * total / _LONGEST / len(references)


def _weighted(
    ngrams: Ngrams, frequency: Ngrams, documents: float
) -> tuple[list[dict[tuple[str, ...], float]], list[float], int]:
    """Return the tf-idf vector and its norm for each n, and the length, counted in bigrams as there."""
    vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(_LONGEST)]
    for ngram, count in ngrams.items():
        weight = count * (documents - math.log(max(1, frequency[ngram])))
        vectors[len(ngram) - 1][ngram] = weight
    norms = [math.sqrt(sum(weight**2 for weight in vector.values())) for vector in vectors]
    return vectors, norms, sum(count for ngram, count in ngrams.items() if len(ngram) == 2)
