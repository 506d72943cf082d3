"""Gradient checkpointing: the same gradients, also behind frozen embeddings."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer


def gradients(pair, batch):
    pair.model.zero_grad(set_to_none=True)
    pair.model(**batch).loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in pair.model.named_parameters()
        if parameter.grad is not None
    }


@pytest.fixture
def training(pair):
    """The model in training, as it was afterwards."""
    yield pair
    pair.model.activation_checkpointing_disable()
    pair.model.eval().requires_grad_(True).zero_grad(set_to_none=True)


@pytest.mark.parametrize("frozen", ["nothing", "embeddings", "base but projector"])
@pytest.mark.parametrize("use_reentrant", [False, True], ids=["modern", "reentrant"])
@pytest.mark.parametrize("samples", [slice(0, 4), slice(0, 1)], ids=["mixture", "text"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpointing_gives_the_same_gradients(training, frozen, use_reentrant, samples):
    model = training.model.train()
    if frozen == "embeddings":
        model.get_input_embeddings().requires_grad_(False)
    elif frozen == "base but projector":
        model.requires_grad_(False)
        model.region_encoder.requires_grad_(True)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or "projector" in name or "merger" in name)
    batch = training.batch(training.four()[samples])
    expected = gradients(training, batch)
    before = model.get_input_embeddings().weight.clone()
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": use_reentrant})
    if use_reentrant:
        # As the Trainer does for it.
        model.enable_input_require_grads()
    found = gradients(training, batch)
    model.disable_input_require_grads() if use_reentrant else None
    assert found.keys() == expected.keys()
    if samples.stop == 4:
        assert any(gradient.any() for name, gradient in found.items() if name.startswith("region_encoder"))
    scale = max((float(gradient.abs().max()) for gradient in expected.values()), default=1.0) or 1.0
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / scale, gradient / scale, atol=1e-5, rtol=1e-4)
    assert torch.equal(before, model.get_input_embeddings().weight)


def test_a_frozen_encoder_is_not_computed_again(training):
    model = training.model.train()
    tower = next(
        module
        for name, module in model.named_modules()
        if name.endswith(("vision_tower", "vision_model", "visual"))
    )
    tower.requires_grad_(False)
    model.activation_checkpointing_enable({"use_reentrant": False})
    runs = []
    layer = next(module for module in tower.modules() if isinstance(module, GradientCheckpointingLayer))
    # What is computed again starts inside of the layer.
    first = next(module for module in layer.modules() if not list(module.children()))
    handle = first.register_forward_hook(lambda *_: runs.append(1))
    batch = training.batch(training.four())
    loss = model(**batch).loss
    forward = len(runs)
    loss.backward()
    handle.remove()
    assert len(runs) == forward
    assert all(parameter.grad is None for parameter in tower.parameters())
