"""Muon and AdamW as one optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from mustela.train.muon import Muon, MuonAdamW, _step_by_step, hidden_matrices, orthogonalised


def _model(*, tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    return [
        {"params": matrices, "lr": 0.01, "weight_decay": 0.1, "name": "model"},
        {"params": rest, "lr": 0.01, "weight_decay": 0.0, "name": "model, no decay"},
    ]


def _step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, seed: int) -> float:
    ids = torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(seed))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@pytest.mark.parametrize("tied", [True, False])
def test_muon_takes_the_layers_matrices_and_neither_embeddings_nor_head(tied: bool) -> None:
    model = _model(tied=tied)
    chosen = hidden_matrices(model)
    names = {name for name, parameter in model.named_parameters() if id(parameter) in chosen}
    assert len(names) == 7
    assert all("layers.0." in name and name.endswith("proj.weight") for name in names)


def test_every_parameter_moves_and_groups_keep_their_rates_and_names() -> None:
    model = _model(tied=False)
    optimizer = MuonAdamW(_groups(model), matrices=hidden_matrices(model))
    assert [(group["name"], group["muon"]) for group in optimizer.param_groups] == [
        ("model", True),
        ("model", False),
        ("model, no decay", False),
    ]
    before = copy.deepcopy(dict(model.named_parameters()))
    _step(model, optimizer, 0)
    assert all(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_a_schedule_reaches_both_optimizers() -> None:
    model = _model(tied=False)
    optimizer = MuonAdamW(_groups(model), matrices=hidden_matrices(model))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step == 0))
    _step(model, optimizer, 0)
    schedule.step()
    before = copy.deepcopy(dict(model.named_parameters()))
    _step(model, optimizer, 1)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_saved_and_restored_it_goes_on_to_the_bit() -> None:
    model = _model(tied=False)
    optimizer = MuonAdamW(_groups(model), matrices=hidden_matrices(model))
    for seed in range(3):
        _step(model, optimizer, seed)
    other = _model(tied=False)
    other.load_state_dict(model.state_dict())
    restored = MuonAdamW(_groups(other), matrices=hidden_matrices(other))
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(3, 6):
        assert _step(model, optimizer, seed) == _step(other, restored, seed)
    for left, right in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


def test_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 24), (24, 8), (8, 24), (12, 12)]
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.02, "weight_decay": 0.1}
    optimizers = (
        Muon([{"params": ours, **options}]),
        torch.optim.Muon(theirs, **options, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        for left, right in zip(ours, theirs, strict=True):
            left.grad = torch.randn(left.shape, generator=generator)
            right.grad = left.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    # torch iterates in bfloat16.
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=2e-3)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16)])
def test_iterating_on_squares_is_iterating(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    wide = matrices.double() if shape[0] <= shape[1] else matrices.double().mT
    expected = _step_by_step(wide / wide.norm(dim=(1, 2), keepdim=True))
    found = orthogonalised(matrices)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double() if shape[0] <= shape[1] else found.double().mT, expected, atol=1e-4)
    # The quintic is steep at zero and doesn't settle at 1: all large singular values end near it.
    assert 0.6 < torch.linalg.svdvals(found).median() < 1.3


def test_a_kernel_is_a_matrix_with_a_row_for_each_output_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = torch.randn(kernel.shape, generator=generator).to(memory_format=torch.channels_last)
    matrix.grad = kernel.grad.flatten(1).clone()
    for parameter in (kernel, matrix):
        Muon([{"params": [parameter], "lr": 0.02, "weight_decay": 0.0}]).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_the_kernels_of_convolutions_are_taken() -> None:
    class Seeing(nn.Sequential):
        def get_output_embeddings(self) -> None:
            return None

    model = Seeing(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Embedding(5, 6))
    assert hidden_matrices(model) == {id(model[0].weight)}
