"""How many floating-point operations a training step takes, part by part, from shapes alone.

Counted are matrix products, two operations a multiplication, as `torch.utils.flop_counter` counts them; all
else is small. Attention is counted whole, without regard to what a causal mask hides. What activation
checkpointing computes again is left out: it is no work that the model needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from step_timeline import Clock
from torch import Tensor, nn

from mustela.constants import IGNORE_INDEX
from mustela.model import MustelaForConditionalGeneration
from mustela.model.region_encoders.geo import GeoSampler

PARTS = ("vision_tower", "projector", "region_encoder", "language_model", "head_and_loss")


@dataclass(frozen=True)
class Work:
    """Operations of a part, forward and backward."""

    forward: int = 0
    backward: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.forward + other.forward, self.backward + other.backward)

    @property
    def total(self) -> int:
        return self.forward + self.backward


def product(count: int, *, learns: bool, passes: bool) -> Work:
    """Return the work of a matrix product of `count` multiplications.

    Args:
        count: multiplications forward.
        learns: the weight wants its gradient.
        passes: so does what is multiplied by it.
    """
    return Work(2 * count, 2 * count * (learns + passes))


def step_work(model: MustelaForConditionalGeneration, batch: dict[str, Tensor]) -> dict[str, Work]:
    """Count one forward and backward pass over a batch by part.

    Args:
        model: a classic composition with a transformer as its tower, frozen, and with what learns set.
        batch: of one picture or more; `input_ids`, `labels`, `pixel_values` and `region_points` are read.
    """
    base: Any = model.base.model
    tower = base.vision_tower
    pictures, patches = len(batch["pixel_values"]), _patches(batch["pixel_values"], tower.config)
    rows, length = batch["input_ids"].shape
    supervised = int((batch["labels"][:, 1:] != IGNORE_INDEX).sum())
    config = model.config.get_text_config()
    width = config.num_attention_heads * (config.head_dim or config.hidden_size // config.num_attention_heads)
    found = {
        "vision_tower": _tower(tower, pictures, patches),
        "projector": _linears(base.multi_modal_projector, pictures * patches, passes=False),
        "region_encoder": Work(),
        "language_model": _linears(base.language_model, rows * length, passes=True),
        "head_and_loss": _linears(model.get_output_embeddings(), supervised, passes=True),
    }
    # Scores and their use; each has two products in its gradient.
    attention = config.num_hidden_layers * rows * 2 * length**2 * width
    found["language_model"] += product(attention, learns=True, passes=True)
    if isinstance(model.region_encoder, GeoSampler) and "region_points" in batch:
        regions = len(batch["region_points"])
        found["region_encoder"] = _sampler(
            model.region_encoder, pictures * patches, regions, batch["region_points"].shape[1]
        )
    return found


def _patches(pixels: Tensor, config: Any) -> int:
    return int((pixels.shape[-2] // config.patch_size) * (pixels.shape[-1] // config.patch_size))


def _linears(module: nn.Module, tokens: int, *, passes: bool) -> Work:
    """Count the linear layers of a part that each see every token, low-rank adapters among them."""
    found = Work()
    first = not passes
    for layer in _of_kind(module, nn.Linear):
        learns = layer.weight.requires_grad
        found += product(layer.weight.numel() * tokens, learns=learns, passes=not first)
        first = False
    return found


def _of_kind(module: nn.Module, kind: type[nn.Linear]) -> Iterator[nn.Linear]:
    return (each for each in module.modules() if isinstance(each, kind))


def _tower(tower: nn.Module, pictures: int, patches: int) -> Work:
    """Count a frozen encoder of patches and one token more; all of its layers run."""
    config: Any = tower.config
    tokens = patches + (config.model_type == "clip_vision_model")
    inside = next(each for each in tower.modules() if isinstance(each, nn.ModuleList))
    linears = sum(each.weight.numel() for each in _of_kind(inside, nn.Linear))
    attention = config.num_hidden_layers * 2 * tokens**2 * config.hidden_size
    stem = patches * 3 * config.patch_size**2 * config.hidden_size
    return product(pictures * (tokens * linears + attention + stem), learns=False, passes=False)


def _sampler(encoder: GeoSampler, cells: int, regions: int, points: int) -> Work:
    """Count the sampler as it computes: products once a cell of the grid, not once a neighbour."""
    found = Work()
    for number, (stage, kept) in enumerate(zip(encoder.stages, encoder.sub_points, strict=True)):
        channels = stage.channels
        wide = channels + 2
        # The two linear layers as one.
        found += product(channels * wide**2, learns=True, passes=True)
        # Features, which pass gradients on from the second stage on, and coordinates, which never do.
        of_features = 2 * cells if number == 0 else regions * (points + kept)
        found += product(of_features * channels**2, learns=True, passes=number > 0)
        found += product(regions * (points + kept) * 2 * channels, learns=True, passes=False)
        points = kept
    for layer in (encoder.flatten, encoder.output):
        per = encoder.tokens if layer is encoder.output else 1
        found += product(regions * per * layer.weight.numel(), learns=True, passes=True)
    return found


def matrix_rate(device: torch.device, *, side: int, dtype: torch.dtype, runs: int) -> float:
    """Return the operations a second of a product of two square matrices, the median of some runs."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = []
    for _ in range(runs):
        clock = Clock(device)
        clock.mark("product")
        for _ in range(8):
            left @ right
        seconds.append(clock.spans()["product"] / 8)
    return 2 * side**3 / sorted(seconds)[len(seconds) // 2]
