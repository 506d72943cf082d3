"""The `geo` region encoder against its textbook formulation: time and equality of outputs and gradients.

    python benchmarks/bench_geo_sampler.py

Prediction from operation counts, for the first stage of a region (128 anchors, 24 neighbours, C channels):
the textbook multiplies 128 * 24 * ((C + 2)^2 + 2 (C + 2) C), about 3 * 3072 * C^2 numbers; ours multiplies
the grid once a picture, 2 * 576 * C^2, whatever the number of regions. Both interpolate, gather, pool and
flatten alike.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders.geo import GeoSampler, farthest_points, nearest_points, take

CHANNELS, HIDDEN, SIDE, POINTS = 1024, 4096, 24, 512
RUNS = 7
RESULT = Path(__file__).parent / "results" / "geo_sampler.json"


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


def measure(function: Callable[[], Tensor], encoder: GeoSampler) -> tuple[list[float], Tensor, Tensor]:
    """Time forward and backward; return seconds, the output and one gradient."""
    seconds = []
    for _ in range(RUNS + 1):
        encoder.zero_grad()
        began = time.perf_counter()
        output = function()
        output.square().mean().backward()
        seconds.append(time.perf_counter() - began)
    gradient = encoder.stages[0].aggregate.weight.grad
    return seconds[1:], output.detach(), gradient.clone()


def main() -> None:
    """Measure 4 and 16 regions on one picture; write JSON and print a table."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    encoder = GeoSampler(CHANNELS, HIDDEN)
    rows = []
    for regions in (4, 16):
        grids = FeatureGrids.from_batch(torch.randn(1, SIDE, SIDE, CHANNELS))
        corner, extent = torch.rand(regions, 1, 2) * 0.5, torch.rand(regions, 1, 2) * 0.4 + 0.1
        points = corner + extent * torch.rand(regions, POINTS, 2)
        image = torch.zeros(regions, dtype=torch.long)
        book, expected, expected_gradient = measure(
            lambda g=grids, p=points, i=image: textbook(encoder, g, p, i), encoder
        )
        ours, output, gradient = measure(lambda g=grids, p=points, i=image: encoder(g, p, i), encoder)
        rows.append(
            {
                "regions": regions,
                "textbook_seconds": statistics.median(book),
                "mustela_seconds": statistics.median(ours),
                "times_faster": statistics.median(book) / statistics.median(ours),
                "largest_difference": float((output - expected).abs().max()),
                "largest_gradient_difference": float((gradient - expected_gradient).abs().max()),
            }
        )
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"forward and backward, median of {RUNS}; {machine}")
    for row in rows:
        print("  ".join(f"{key}: {value:.3g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
