"""A batch without pictures gives every part that learns a gradient, and the same loss as ever."""

from __future__ import annotations

import pytest
import torch

from mustela.model.parts import part_of


@pytest.fixture
def training(pair):
    """The model in training, as it was afterwards."""
    yield pair
    pair.model.eval().requires_grad_(True).zero_grad(set_to_none=True)


def with_gradient(pair, batch):
    pair.model.zero_grad(set_to_none=True)
    pair.model(**batch).loss.backward()
    return {name: p.grad for name, p in pair.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frozen", ["nothing", "vision_tower", "language_model"])
def test_a_text_gives_the_same_parameters_gradients_as_pictures_do(training, frozen):
    for name, parameter in training.model.named_parameters():
        parameter.requires_grad_(part_of(name) != frozen)
    training.model.eval()
    text = training.batch(training.four()[:1])
    plain = training.model(**text).loss
    training.model.train()
    expected = with_gradient(training, training.batch(training.four()))
    found = with_gradient(training, text)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        if part_of(name) != "language_model":
            assert not gradient.any(), name
    assert torch.equal(training.model(**text).loss, plain)


def test_only_what_learns_makes_a_text_run_the_vision_part(training, monkeypatch):
    calls = []
    encode = training.model.encode_images
    monkeypatch.setattr(training.model, "encode_images", lambda **inputs: calls.append(1) or encode(**inputs))
    text = training.batch(training.four()[:1])
    training.model.eval()(**text)
    for name, parameter in training.model.named_parameters():
        parameter.requires_grad_(name.startswith("region_encoder."))
    training.model.train()(**text)
    assert not calls
    training.model.requires_grad_(True)
    training.model(**text)
    assert calls == [1]
