"""Scores of captions without Java: METEOR by nltk, CIDEr-D by `mustela.evaluate.benchmarks.cider`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mustela.errors import require
from mustela.evaluate.benchmarks.cider import MOST, score_cider
from mustela.evaluate.benchmarks.figures import measure_range
from mustela.evaluate.benchmarks.protocol import Answer, Score, ScoreTools
from mustela.evaluate.measure import measure

_PUNCTUATION = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
_BRACKETS = frozenset("()[]{}")


def caption_words(text: str) -> list[str]:
    """Return the words of a caption: Penn Treebank's, in small letters, without punctuation."""
    tokenize = require("nltk.tokenize", extra="captioning")
    words: list[str] = tokenize.TreebankWordTokenizer().tokenize(text.replace("\n", " ").lower())
    return [word for word in words if word not in _PUNCTUATION and word not in _BRACKETS]


class _NoSynonyms:
    """Stands for WordNet where its data aren't installed: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


def synonyms() -> tuple[Any, bool]:
    """Return WordNet and True where nltk's data have it, else something without synonyms and False."""
    wordnet = require("nltk.corpus", extra="captioning").wordnet
    try:
        wordnet.ensure_loaded()
    except LookupError:
        return _NoSynonyms(), False
    return wordnet, True


def score_meteor(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> tuple[list[float], bool]:
    """Return METEOR of every caption (the best over its references), and whether synonyms counted.

    Matches of words, of Porter stems and, where WordNet is installed, of synonyms (which nltk looks up by
    stem); alpha 0.9, beta 3, gamma 0.5. Source: Lavie and Agarwal 2007, nltk's implementation. METEOR 1.5 of
    the COCO server adds a table of paraphrases and other weights, and gives other numbers.
    """
    meteor = require("nltk.translate.meteor_score", extra="captioning").meteor_score
    wordnet, known = synonyms()
    scores = [
        float(meteor([list(words) for words in each], list(said), wordnet=wordnet)) if said else 0.0
        for said, each in zip(candidates, references, strict=True)
    ]
    return scores, known


def score_captions(answers: Sequence[Answer], tools: ScoreTools) -> Score:
    """Return METEOR and CIDEr-D of captions; `truth["captions"]` of an item holds its references."""
    predictions = [answer.prediction for answer in answers]
    said = [caption_words(item.text) for item in predictions]
    references = [[caption_words(text) for text in answer.item.truth["captions"]] for answer in answers]
    meteor, with_synonyms = score_meteor(said, references)
    cider = score_cider(said, references)
    rows = [{"meteor": m, "cider": c} for m, c in zip(meteor, cider, strict=True)]
    figures = {
        "meteor": measure(meteor, predictions, seed=tools.seed),
        "cider": measure_range(cider, predictions, least=0.0, most=MOST, seed=tools.seed),
    }
    notes = (
        "meteor: words, stems"
        + (" and WordNet's synonyms" if with_synonyms else "; nltk's WordNet is absent")
        + ". METEOR 1.5 (Java) of the published tables has paraphrases too: compare within this scorer only.",
        "cider: CIDEr-D with document frequencies of this split's references, 0 to 10 (papers print it times"
        " 10 or 100). Words are split by nltk's Treebank rules.",
    )
    return Score(figures, rows, [not words for words in said], {"wordnet": with_synonyms}, notes)
