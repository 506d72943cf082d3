"""Which parts learn, by flags."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mustela.config import ModelArguments
from mustela.errors import ConfigError
from mustela.train.freezing import Freezing, apply_freezing, learn_new_rows, part_sizes, plan_freezing

PARTS = ("vision_tower", "projector", "region_encoder", "language_model")


def tiny() -> tuple[nn.Module, dict[str, tuple[str, ...]]]:
    model = nn.ModuleDict({part: nn.Linear(2, 2) for part in PARTS})
    return model, {part: (f"{part}.weight", f"{part}.bias") for part in PARTS}


@pytest.mark.parametrize(
    ("flags", "freeze_projector", "learning"),
    [
        ({}, False, "projector region_encoder language_model"),
        ({"freeze_backbone": True}, False, "projector region_encoder"),
        ({"tune_mm_mlp_adapter": True}, False, "projector region_encoder"),
        ({"tune_mm_mlp_adapter": True, "freeze_vision_tower": False}, False, "projector region_encoder"),
        ({"tune_mm_mlp_adapter": True, "freeze_region_encoder": True}, False, "projector"),
        ({}, True, "region_encoder language_model"),
        ({"freeze_vision_tower": False}, False, "vision_tower projector region_encoder language_model"),
        ({"freeze_backbone": True}, True, "region_encoder"),
    ],
)
def test_what_learns(flags, freeze_projector, learning):
    model, parts = tiny()
    plan = plan_freezing(ModelArguments(**flags), freeze_mm_mlp_adapter=freeze_projector)
    apply_freezing(model, plan, parts=parts)
    assert [part for part in PARTS if model[part].weight.requires_grad] == learning.split()
    sizes = {size.part: (size.total, size.learning) for size in part_sizes(model, parts=parts)}
    assert sizes == {part: (6, 6 if part in learning.split() else 0) for part in PARTS}


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match="choose one"):
        plan_freezing(ModelArguments(tune_mm_mlp_adapter=True), freeze_mm_mlp_adapter=True)
    with pytest.raises(ConfigError, match="Every part of the model is frozen"):
        plan_freezing(
            ModelArguments(freeze_backbone=True, freeze_region_encoder=True), freeze_mm_mlp_adapter=True
        )


def test_a_model_without_the_part_that_would_learn_is_refused():
    model = nn.ModuleDict({"language_model": nn.Linear(2, 2)})
    plan = Freezing(vision_tower=False, projector=False, region_encoder=True, language_model=False)
    with pytest.raises(ConfigError, match="Nothing is left to learn"):
        apply_freezing(model, plan, parts={"language_model": ("language_model.weight",)})


def test_only_the_rows_of_new_tokens_change():
    torch.manual_seed(0)
    embedding = nn.Embedding(6, 3)
    embedding.requires_grad_(False)
    before = embedding.weight.detach().clone()
    learn_new_rows(embedding, [4, 5])
    optimizer = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=0.0)
    for _ in range(3):
        embedding(torch.arange(6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(embedding.weight[:4], before[:4])
    assert not torch.isclose(embedding.weight[4:], before[4:]).any()
