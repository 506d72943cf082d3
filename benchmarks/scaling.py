"""The figures of `docs/about/scaling.md`, from the shapes of the recipes and from datasheets.

    python benchmarks/scaling.py

Operations are counted by `step_flops.py`, whose count is checked against torch's own. Memory is what
`mustela train RECIPE --dry_run` plans and is not computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from step_flops import step_work

from mustela.model.build import ClassicSettings, RegionSettings, build_stand_in
from mustela.model.parts import part_of

RECIPES = Path(__file__).parents[1] / "recipes"
TOKENS, SUPERVISED, REGIONS = 900, 250, 6
DEVICES = (8, 16, 64)


@dataclass(frozen=True)
class Card:
    """Operations a second (bf16, dense) and bytes a second inside a node and between nodes, one way."""

    operations: float
    inside: float
    between: float


CARDS = {"A100": Card(3.12e14, 300e9, 25e9), "H100": Card(9.89e14, 450e9, 50e9)}
MODELS = {"7B": "ferret_7b", "13B": "ferret_13b"}


@dataclass(frozen=True)
class Step:
    """One pass of one device.

    Attributes:
        learning: weights that learn.
        samples: of the device.
        needed: operations, forward and backward.
        again: operations that checkpointing repeats.
    """

    learning: int
    samples: int
    needed: int
    again: int

    @property
    def operations(self) -> int:
        """Operations that are done."""
        return self.needed + self.again

    @property
    def sent(self) -> float:
        """Bytes that FSDP2 brings to a device: 2 a weight twice, and a gradient of 4."""
        return 8 * self.learning

    def seconds(self, card: Card) -> float:
        """Return the least time of the pass on a card."""
        return self.operations / card.operations

    def busy_tokens(self, card: Card, *, inside: bool) -> float:
        """Return the tokens at which a device computes for as long as its links are busy."""
        a_token = self.operations / (self.samples * TOKENS)
        return self.sent / (card.inside if inside else card.between) * card.operations / a_token

    def sharded(self, devices: int) -> float:
        """Return the bytes of weights, gradients and Adam's numbers on each device."""
        return 16 * self.learning / devices


def step_of(recipe: str) -> Step:
    """Count a pass of a recipe's model, with samples of the assumed size."""
    content: dict[str, Any] = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text("utf-8"))
    content = {**_base_of(content), **content}
    shapes, samples = content["stand_in"], content["per_device_train_batch_size"]
    with torch.device("meta"):
        model, _ = build_stand_in(
            shapes["language_model"],
            shapes["vision_tower"],
            ["What is this? USER: ASSISTANT:"] * 5,
            version="v1",
            regions=RegionSettings(encoder="geo"),
            classic=ClassicSettings(projector_type="linear", select_layer=-2),
        )
        pictures, points = torch.empty(samples, 3, 336, 336), torch.empty(samples * REGIONS, 512, 2)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) != "vision_tower")
    labels = torch.full((samples, TOKENS), -100)
    labels[:, -SUPERVISED:] = 1
    batch = {"input_ids": labels, "labels": labels, "pixel_values": pictures, "region_points": points}
    work = step_work(model, batch)
    return Step(
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        samples,
        sum(each.total for each in work.values()),
        work["language_model"].forward,
    )


def _base_of(content: dict[str, Any]) -> dict[str, Any]:
    if "extends" not in content:
        return {}
    base: dict[str, Any] = yaml.safe_load((RECIPES / content["extends"]).read_text("utf-8"))
    return base


def main() -> None:
    """Print every figure."""
    for name, recipe in MODELS.items():
        step = step_of(recipe)
        print(f"{name}: {step.learning:.2e} learn, {step.samples} samples, {step.operations:.2e} operations")
        print(f"  {step.operations / step.samples / TOKENS:.2e} a token, {step.sent:.2e} bytes sent")
        print("  sharded GB:", *(f"{devices}: {step.sharded(devices) / 1e9:.1f}" for devices in DEVICES))
        for card, each in CARDS.items():
            seconds = step.seconds(each)
            print(f"  {card}: {seconds:.2f} s, {step.samples / seconds:.1f} samples a second")
            for where, rate, inside in (("inside", each.inside, True), ("between", each.between, False)):
                tokens = step.busy_tokens(each, inside=inside)
                print(
                    f"    {where} nodes: {step.sent / rate:.2f} s of sending, as busy at {tokens:.0f} tokens"
                )


if __name__ == "__main__":
    main()
