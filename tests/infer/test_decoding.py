"""Rows that grow together: each as if it were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from mustela.errors import ConfigError
from mustela.infer import (
    Predictor,
    Query,
    Row,
    Sampling,
    decode_rows,
    encode_pictures,
    generate_texts,
    render_query,
)
from mustela.infer.pieces import TextPieces
from mustela.regions import Box

TEXTS = ["Is it?", "What is it, and where, and why is it there at all?"]


def sample(predictor: Predictor, text: str, image: Image.Image | None = None) -> dict[str, Any]:
    regions = (Box(4, 5, 30, 40),) if image is not None else ()
    size_wh = None if image is None else image.size
    rendered = render_query(Query(image, text, regions), size_wh, options=predictor.options)
    return predictor.processor.encode(rendered, [] if image is None else [image], rng=None, generation=True)


def row(predictor: Predictor, text: str, image: Image.Image | None = None, **settings: Any) -> Row:
    encoded = sample(predictor, text, image)
    features = [] if image is None else encode_pictures(predictor.model, [encoded]).split()
    return Row(encoded, features, predictor.processor, **{"max_new_tokens": 12, **settings})


def decode(predictor: Predictor, rows: list[Row], **settings: Any) -> list[str]:
    decode_rows(predictor.model, predictor.processor, rows, **settings)
    return [each.text for each in rows]


def test_mixed_rows_say_what_they_say_alone(
    predictor: Predictor, picture: Image.Image, other_picture: Image.Image
) -> None:
    asked = [("What is <region>?", picture), (TEXTS[0], None), ("<region>? " + TEXTS[1], other_picture)]
    expected = [
        generate_texts(predictor.model, predictor.processor, [sample(predictor, *each)], max_new_tokens=12)[0]
        for each in asked
    ]
    rows = [row(predictor, *each) for each in asked]
    assert decode(predictor, rows) == expected
    assert all(expected)
    assert {each.finish_reason for each in rows} <= {"length", "stop"}


def test_rows_that_were_interrupted_go_on_as_if_nothing_had_been(
    predictor: Predictor, picture: Image.Image
) -> None:
    drawn = Sampling(temperature=1.0, seed=3)
    asked = [("What is <region>?", picture), (TEXTS[1], None)]
    whole = [decode(predictor, [row(predictor, *each, sampling=drawn)])[0] for each in asked]
    first = row(predictor, *asked[0], sampling=drawn)
    steps = 0

    def after_three() -> bool:
        nonlocal steps
        steps += 1
        return steps == 3

    decode(predictor, [first], interrupt=after_three)
    assert first.finish_reason is None
    assert len(first.tokens) == 3
    assert decode(predictor, [row(predictor, *asked[1], sampling=drawn), first]) == whole[::-1]


def test_a_stop_string_ends_its_own_row_only(predictor: Predictor) -> None:
    whole = decode(predictor, [row(predictor, text) for text in TEXTS])
    stop = whole[0][2:4]
    pieces: list[str] = []
    rows = [row(predictor, TEXTS[0], stop=[stop], on_text=pieces.append), row(predictor, TEXTS[1])]
    assert decode(predictor, rows) == [whole[0][: whole[0].index(stop)].rstrip(), whole[1]]
    assert rows[0].finish_reason == "stop"
    assert "".join(pieces) == rows[0].text


def test_a_row_that_nobody_waits_for_stops(predictor: Predictor) -> None:
    rows = [row(predictor, TEXTS[0]), row(predictor, TEXTS[1])]

    def cancel() -> bool:
        rows[0].cancel()
        return False

    decode(predictor, rows, interrupt=cancel)
    assert rows[0].finish_reason == "cancelled"
    assert len(rows[0].tokens) == 1
    assert rows[1].finish_reason == "length"


def test_draws_follow_the_chances() -> None:
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Row.__new__(Row)

    def counts(**settings: Any) -> list[int]:
        from mustela.infer.decoding import _generator

        sampler.sampling = Sampling(seed=1, **settings)
        sampler._generator = _generator(sampler.sampling)
        drawn = [sampler.choose(scores) for _ in range(800)]
        return [drawn.count(token) for token in range(4)]

    assert counts(temperature=1.0) == pytest.approx([400, 240, 120, 40], abs=50)
    assert counts(temperature=1.0, top_p=0.79) == pytest.approx([500, 300, 0, 0], abs=50)
    assert counts(temperature=1.0, top_p=1e-9) == [800, 0, 0, 0]
    assert counts(temperature=0.0) == [800, 0, 0, 0]
    assert counts(temperature=2.0)[3] > 60


@pytest.mark.parametrize("settings", [{"temperature": -1}, {"temperature": float("inf")}, {"top_p": 0}])
def test_sampling_that_means_nothing(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**settings)


@pytest.mark.parametrize("text", ["a red star [1, 2, 3, 4].", "zwei Bäume 和 🦊🦊 fin", "  blanks  in  it "])
def test_pieces_together_are_the_text(predictor: Predictor, text: str) -> None:
    tokenizer = predictor.processor.tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = TextPieces(tokenizer)
    said = [pieces.add(token) for token in ids]
    assert "".join(said) + pieces.rest() == tokenizer.decode(ids, skip_special_tokens=True)
    assert not any("\ufffd" in piece for piece in said)
