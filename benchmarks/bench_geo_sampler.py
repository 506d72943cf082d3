"""The `geo` region encoder against its textbook formulation: time, memory, equality of outputs and gradients.

    python benchmarks/bench_geo_sampler.py

Prediction from operation counts, for the first stage of a region (128 anchors, 24 neighbours, C channels):
the textbook multiplies 128 * 24 * ((C + 2)^2 + 2 (C + 2) C), about 3 * 3072 * C^2 numbers; ours multiplies
the grid once a picture, 2 * 576 * C^2, whatever the number of regions. Both interpolate, gather, pool and
flatten alike.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from measuring import RUNS, counted_peak, machine, take_turns, write
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders.geo import GeoSampler, farthest_points, nearest_points, take

CHANNELS, HIDDEN, SIDE, POINTS = 1024, 4096, 24, 512


def textbook(encoder: GeoSampler, grids: FeatureGrids, points: Tensor, image: Tensor) -> Tensor:
    """Gather, subtract, two products, ReLU, LayerNorm, pool: as the paper writes it."""
    features = sample_grids(grids, points, image, geometry=encoder.geometry)
    for stage, count in zip(encoder.stages, encoder.sub_points, strict=True):
        chosen = farthest_points(points, count)
        anchors_xy = take(points, chosen)
        nearest = nearest_points(anchors_xy, points, encoder.neighbors)
        joined = torch.cat([features, points], dim=-1)
        anchors = take(joined, chosen)[:, :, None].expand(-1, -1, encoder.neighbors, -1)
        difference = stage.difference(take(joined, nearest) - anchors)
        aggregated = stage.norm(stage.aggregate(torch.cat([difference, anchors], dim=-1)).relu())
        features = aggregated.amax(2) if stage.pooling == "max" else aggregated.mean(2)
        points = anchors_xy
    result: Tensor = encoder.output(encoder.flatten(features.flatten(1)))
    return result


def multiplications(regions: int) -> tuple[float, float]:
    """Return how many multiplications the textbook and mustela take forward, in matrix products."""
    width, kept = CHANNELS + 2, (128, 32)
    ends = regions * (kept[-1] * CHANNELS**2 + CHANNELS * HIDDEN)
    book = regions * sum(n * 24 for n in kept) * (width**2 + 2 * width * CHANNELS)
    grid = 2 * SIDE**2 * CHANNELS**2
    second = regions * sum(kept) * CHANNELS**2
    composed = len(kept) * CHANNELS * width**2
    return book + ends, grid + second + composed + ends


def step(function: Callable[..., Tensor], *inputs: Any, encoder: GeoSampler) -> Callable[[], Tensor]:
    """Return a function that runs forward and backward and returns the output."""

    def run() -> Tensor:
        encoder.zero_grad(set_to_none=True)
        output = function(*inputs)
        output.square().mean().backward()
        return output.detach()

    return run


def regions_on_a_picture(regions: int) -> tuple[FeatureGrids, Tensor, Tensor]:
    """Return the grid of a picture, points of boxes, and which picture they are of."""
    grids = FeatureGrids.from_batch(torch.randn(1, SIDE, SIDE, CHANNELS))
    corner, extent = torch.rand(regions, 1, 2) * 0.5, torch.rand(regions, 1, 2) * 0.4 + 0.1
    points = corner + extent * torch.rand(regions, POINTS, 2)
    return grids, points, torch.zeros(regions, dtype=torch.long)


def peaks(regions: int) -> tuple[int, int]:
    """Count the memory of the textbook and of mustela, on tensors without numbers."""
    with FakeTensorMode():
        encoder = GeoSampler(CHANNELS, HIDDEN)
        inputs = regions_on_a_picture(regions)
        return (
            counted_peak(step(textbook, encoder, *inputs, encoder=encoder)),
            counted_peak(step(encoder, *inputs, encoder=encoder)),
        )


def main() -> None:
    """Measure regions on one picture and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--time-up-to", type=int, default=64, help="of more regions, only memory is counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    where = machine(arguments.threads)
    rows: list[dict[str, Any]] = []
    for regions in arguments.regions:
        book, ours = multiplications(regions)
        book_peak, peak = peaks(regions)
        row: dict[str, Any] = {
            "regions": regions,
            "fewer_multiplications": book / ours,
            "textbook_peak_mb": book_peak / 1e6,
            "mustela_peak_mb": peak / 1e6,
            "share_of_memory": peak / book_peak,
        }
        rows.append(row)
        if regions > arguments.time_up_to:
            continue
        torch.manual_seed(0)
        encoder = GeoSampler(CHANNELS, HIDDEN)
        inputs = regions_on_a_picture(regions)
        found: dict[str, tuple[Tensor, Tensor]] = {}

        def kept(name: str, run: Callable[[], Tensor], of: Any = encoder, to: Any = found) -> Any:
            def keeping() -> None:
                output = run()
                to[name] = output, of.stages[0].aggregate.weight.grad

            return keeping

        sides = {
            "textbook": kept("textbook", step(textbook, encoder, *inputs, encoder=encoder)),
            "mustela": kept("mustela", step(encoder, *inputs, encoder=encoder)),
        }
        times = take_turns(sides, runs=arguments.runs)
        (expected, expected_gradient), (output, gradient) = found["textbook"], found["mustela"]
        for name, taken in times.items():
            row |= {f"{name}_cpu_s": taken.cpu_s, f"{name}_wall_s": taken.wall_s}
        row |= {
            "times_faster_cpu": times["textbook"].cpu_s / times["mustela"].cpu_s,
            "output_difference": float((output - expected).abs().max()),
            "gradient_difference": float((gradient - expected_gradient).abs().max()),
            "runs": arguments.runs,
        }
    notes = [
        "Multiplications are those of matrix products. What keeps the measured ratio below theirs is what"
        " both do alike and is bound by memory: gathering neighbours, ReLU, LayerNorm and pooling.",
        "Memory is the most bytes of tensors that live at once in one forward and backward pass, weights"
        " left out and gradients counted; it is counted on tensors without numbers.",
    ]
    write("geo_sampler", "The region sampler", machine=where, rows=rows, notes=notes)


if __name__ == "__main__":
    main()
