"""Scores of captions, against published examples and other programs."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.evaluate.benchmarks.conftest import ScoreTexts, picture, values, write_json

from mustela.errors import MissingExtraError, RecordError
from mustela.evaluate.benchmarks import captions, find_benchmark
from mustela.evaluate.benchmarks.captions import caption_words, score_meteor
from mustela.evaluate.benchmarks.cider import score_cider
from mustela.regions import Box

CAPTIONS = [
    "a man riding a brown horse",
    "two dogs play in the snow",
    "a red bus on the street",
    "the the the the",
]
REFERENCES = [
    ["a man rides a brown horse", "a person on a horse in a field"],
    ["two dogs playing in snow", "dogs in the snow", "two black dogs run in deep snow"],
    ["a red double decker bus drives down the street"],
    ["a cat on the mat", "the cat sits on the mat"],
]


def test_cider_is_the_caption_servers() -> None:
    found = score_cider([c.split() for c in CAPTIONS], [[r.split() for r in each] for each in REFERENCES])
    # Printed by pycocoevalcap 1.2 for the same captions.
    expected = [2.382364816703522, 2.586619833630046, 2.0980401869527188, 0.17448620403951814]
    assert found == pytest.approx(expected, abs=1e-12)


def test_meteor_of_published_examples() -> None:
    pytest.importorskip("nltk")
    # Banerjee and Lavie 2005: six matches in two chunks; P 1, R 6/7, penalty 0.5 (2/6)³.
    said, reference = "the president spoke to the audience", "the president then spoke to the audience"
    (score,), _ = score_meteor([said.split()], [[reference.split()]])
    precision, recall = 1.0, 6 / 7
    assert score == pytest.approx(
        10 * precision * recall / (recall + 9 * precision) * (1 - 0.5 * (2 / 6) ** 3)
    )
    # nltk's documentation.
    guide = "It is a guide to action which ensures that the military always obeys the commands of the party"
    other = "It is a guide to action that ensures that the military will forever heed Party commands"
    (score,), _ = score_meteor([guide.split()], [[other.split()]])
    assert math.isclose(round(score, 4), 0.6944)


class OneSynonym:
    """A WordNet in which "car" and "auto" mean the same."""

    def synsets(self, word: str) -> list[object]:
        lemmas = [SimpleNamespace(name=lambda: "car"), SimpleNamespace(name=lambda: "auto")]
        return [SimpleNamespace(lemmas=lambda: lemmas)] if word in ("car", "auto") else []


def test_meteor_matches_stems_and_synonyms_and_no_paraphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nltk")
    said = ["dogs", "running", "a car crash"]
    references = ["dog", "runs", "a auto crash"]

    def scores() -> list[float]:
        return score_meteor([s.split() for s in said], [[r.split()] for r in references])[0]

    monkeypatch.setattr(captions, "synonyms", lambda: (OneSynonym(), True))
    # One match in one chunk: 1 - 0.5; three in one: 1 - 0.5 (1/3)³.
    assert scores() == pytest.approx([0.5, 0.5, 1 - 0.5 / 27])
    monkeypatch.setattr(captions, "synonyms", lambda: (captions._NoSynonyms(), False))
    # Two of three words in two chunks: 2/3 (1 - 0.5).
    assert scores() == pytest.approx([0.5, 0.5, 1 / 3])
    assert score_meteor([["at", "once"]], [[["immediately"]]])[0][0] == 0.0


def test_caption_words() -> None:
    pytest.importorskip("nltk")
    assert caption_words("The man's dog, (brown) isn't here.") == [
        "the",
        "man",
        "'s",
        "dog",
        "brown",
        "is",
        "n't",
        "here",
    ]


def test_captions_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk.tokenize", None)
    with pytest.raises(MissingExtraError, match=r"mustela\[captioning\]"):
        caption_words("a")


def test_region_captions(refcoco: Path, score_texts: ScoreTexts) -> None:
    pytest.importorskip("nltk")
    items = find_benchmark("refcocog_captions").items(refcoco, split="val")
    assert [item.truth["captions"] for item in items] == [["left dog", "the dog"], ["big cat"]]
    scored = score_texts("refcocog_captions", refcoco, {"100": "the dog", "101": "a house"}, split="val")
    found = values(scored)
    # Two matches in one chunk: 1 - 0.5 (1/2)³ = 0.9375, and nothing in common.
    assert found["meteor"] == pytest.approx(0.9375 / 2)
    assert scored.metrics["figures"]["cider"]["unit"] == "points"
    assert find_benchmark("refcocog_captions").items(refcoco, split="val")[0].question == (
        "Describe <region> in one short sentence."
    )


def test_visual_genome_captions(tmp_path: Path) -> None:
    for name in (1, 2):
        picture(tmp_path / "VG_100K" / f"{name}.jpg")
    region = {"region_id": 11, "x": 1, "y": 2, "width": 30, "height": 20, "phrase": "a red clock "}
    entries = [{"id": 1, "regions": [region]}, {"id": 2, "regions": [{**region, "region_id": 12}]}]
    write_json(tmp_path / "region_descriptions.json", entries)
    write_json(tmp_path / "image_data.json", [{"image_id": n, "width": 100, "height": 50} for n in (1, 2)])
    benchmark = find_benchmark("visual_genome_captions")
    with pytest.raises(RecordError, match=r"densecap_splits.json"):
        benchmark.items(tmp_path, split="test")
    write_json(tmp_path / "densecap_splits.json", {"test": [2], "train": [1], "val": []})
    (item,) = benchmark.items(tmp_path, split="test")
    assert (item.id, item.picture, item.image_wh) == ("12", "VG_100K/2.jpg", (100, 50))
    assert item.regions == (Box(1, 2, 31, 22),)
    assert json.dumps(item.truth) == '{"captions": ["a red clock"]}'
    assert len(benchmark.items(tmp_path, split="all")) == 2
