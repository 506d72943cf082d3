"""The parts of a model by name, for freezing, learning rates and reports."""

from __future__ import annotations

from typing import Literal

from torch import nn

Part = Literal["vision_tower", "projector", "region_tower", "region_encoder", "language_model"]
PARTS: tuple[Part, ...] = ("vision_tower", "projector", "region_tower", "region_encoder", "language_model")

# First match wins; names as transformers' models use them, behind "base.model.".
_MARKS: tuple[tuple[str, Part], ...] = (
    ("region_encoder.", "region_encoder"),
    ("region_join.", "region_encoder"),
    ("region_tower.", "region_tower"),
    ("multi_modal_projector.", "projector"),
    ("place.", "projector"),
    ("token_norm.", "projector"),
    ("newline.", "projector"),
    ("tile_projector.", "projector"),
    ("image_newline", "projector"),
    ("connector.", "projector"),
    ("embed_vision.", "projector"),
    ("visual.merger.", "projector"),
    ("visual.downsample.", "projector"),
    ("visual.deepstack_merger_list.", "projector"),
    ("vision_tower.", "vision_tower"),
    ("tile_tower.", "vision_tower"),
    ("visual.", "vision_tower"),
    ("vision_model.", "vision_tower"),
)


def part_of(name: str) -> Part:
    """Return the part that a parameter, named as in `named_parameters()`, belongs to."""
    for mark, part in _MARKS:
        if name.startswith((mark, f"base.model.{mark}")):
            return part
    return "language_model"


def parts(model: nn.Module) -> dict[Part, dict[str, nn.Parameter]]:
    """Return the parameters of each part of a mustela model by name; every parameter is in exactly one."""
    found: dict[Part, dict[str, nn.Parameter]] = {part: {} for part in PARTS}
    for name, parameter in model.named_parameters():
        found[part_of(name)][name] = parameter
    return found
