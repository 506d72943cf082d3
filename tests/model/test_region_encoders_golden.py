"""The region encoders against numbers that the original program computed (`sampling_geometry: original`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders import GeoSampler, MeanEncoder, geo

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "region_encoders.safetensors")
STEPS = load_file(Path(__file__).parents[1] / "golden" / "sampler_steps.safetensors")
IMAGE = torch.tensor([0, 0, 0, 1])
SIZE_WH = torch.tensor([[64, 48], [640, 480]])
NAMES = {
    "difference": "diff_projector_list.{}",
    "aggregate": "agg_projector_list.{}.net.0",
    "norm": "agg_projector_list.{}.norm",
}


def theirs(ours: str) -> str:
    """Return the original's name of a parameter of the sampler."""
    first, *rest = ours.split(".")
    if first == "stages":
        number, layer, kind = rest
        return f"{NAMES[layer].format(number)}.{kind}"
    return f"{'flatten_projector' if first == 'flatten' else 'dim_projector'}.{rest[0]}"


def grids(feature_map: Tensor) -> FeatureGrids:
    return FeatureGrids.from_batch(feature_map.unflatten(1, (8, 8)))


def points() -> Tensor:
    return GOLDEN["points_pixel_xy"].float() / SIZE_WH[IMAGE][:, None]


@pytest.fixture(params=["mean", "max"])
def pooling(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sampler(pooling: str) -> GeoSampler:
    encoder = GeoSampler(32, 48, pooling=pooling, geometry="original")
    encoder.load_state_dict(
        {
            name: GOLDEN[f"weights.{theirs(name)}"].reshape(value.shape)
            for name, value in encoder.state_dict().items()
        }
    )
    return encoder


@pytest.fixture
def given_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the original's neighbours: among equally near ones its choice was rounding noise."""
    recorded = {
        GOLDEN[f"stage{stage}.knn_idx_sorted"].shape[1]: GOLDEN[f"stage{stage}.knn_idx_sorted"].long()
        for stage in (0, 1)
    }
    monkeypatch.setattr(geo, "nearest_points", lambda anchors, _points, _count: recorded[anchors.shape[1]])


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Collect what each stage pools."""
    collected: list[Tensor] = []
    pool: Callable[..., Tensor] = geo.GeoStage.pool

    def recording(stage: geo.GeoStage, *arguments: Tensor) -> Tensor:
        collected.append(pool(stage, *arguments))
        return collected[-1]

    monkeypatch.setattr(geo.GeoStage, "pool", recording)
    return collected


def close(parity, what: str, found: Tensor, expected: Tensor, *, atol: float = 1e-5, rtol: float = 0) -> None:
    parity.add(what, cases=found.shape[0], difference=float((found - expected).detach().abs().max()))
    torch.testing.assert_close(found, expected, atol=atol, rtol=rtol, msg=lambda m: what + m)


def test_farthest_points_are_the_original_ones(parity) -> None:
    first = geo.farthest_points(points(), 128)
    parity.add("sampler: indices of farthest points", cases=4 * (128 + 32))
    assert torch.equal(first, GOLDEN["stage0.fps_idx"].long())
    second = geo.farthest_points(geo.take(points(), first), 32)
    assert torch.equal(second, GOLDEN["stage1.fps_idx"].long())


def test_neighbors_are_the_original_ones_where_none_are_equally_near(parity) -> None:
    stage_points = points()
    parity.add("sampler: indices of neighbours, where none are equally near", cases=24 * (128 + 32))
    for stage, count in enumerate((128, 32)):
        anchors = geo.take(stage_points, geo.farthest_points(stage_points, count))
        found = geo.nearest_points(anchors, stage_points, 24).sort(-1).values
        assert torch.equal(found[3], GOLDEN[f"stage{stage}.knn_idx_sorted"][3].long())
        stage_points = anchors


def test_region_without_ties_needs_no_given_neighbors(
    sampler: GeoSampler, pooling: str, pooled: list[Tensor], parity
) -> None:
    output = sampler(grids(GOLDEN["feature_map"]), points()[3:], IMAGE[3:])
    for stage, found in enumerate(pooled):
        what = f"sampler, {pooling}: pooled features of stage {stage + 1}"
        close(parity, what, found, GOLDEN[f"{pooling}.stage{stage}.pooled"][3:])
    close(parity, f"sampler, {pooling}: output", output, GOLDEN[f"{pooling}.output"][3:])


@pytest.mark.usefixtures("given_neighbors")
def test_sampler_stages_and_output(sampler: GeoSampler, pooling: str, pooled: list[Tensor], parity) -> None:
    output = sampler(grids(GOLDEN["feature_map"]), points(), IMAGE)
    for stage, found in enumerate(pooled):
        what = f"sampler, {pooling}: pooled features of stage {stage + 1}"
        close(parity, what, found, GOLDEN[f"{pooling}.stage{stage}.pooled"])
    close(parity, f"sampler, {pooling}: output", output, GOLDEN[f"{pooling}.output"])


def test_features_are_read_at_the_same_places(parity) -> None:
    found = sample_grids(grids(GOLDEN["feature_map"]), points(), IMAGE, geometry="original")
    close(parity, "sampler: features read from the grid", found, STEPS["sampled_features"])


def apart(found: Tensor, expected: Tensor) -> float:
    """Compare the neighbours of an anchor in any order: each has its like in the other set."""
    away = torch.cdist(found, expected, p=torch.inf)
    return float(torch.maximum(away.amin(1).max(), away.amin(2).max()).detach())


@pytest.mark.usefixtures("given_neighbors")
def test_the_first_product_inside_the_sampler(
    sampler: GeoSampler, pooling: str, pooled: list[Tensor], parity
) -> None:
    """Ours joins it with the second, so it is taken here by itself of what the stages read."""
    sampler(grids(GOLDEN["feature_map"]), points(), IMAGE)
    features = sample_grids(grids(GOLDEN["feature_map"]), points(), IMAGE, geometry="original")
    places = points()
    for number, stage in enumerate(sampler.stages):
        chosen = geo.farthest_points(places, sampler.sub_points[number])
        nearest = geo.nearest_points(geo.take(places, chosen), places, sampler.neighbors)[:, 0]
        joined = torch.cat([features, places], dim=-1)
        away = geo.take(joined, nearest) - geo.take(joined, chosen[:, :1])
        largest = apart(stage.difference(away), STEPS[f"{pooling}.stage{number}.diff_first_anchor"])
        what = f"sampler, {pooling}: differences to an anchor, stage {number + 1}"
        parity.add(what, cases=4 * 24, difference=largest)
        assert largest < 1e-5
        features, places = pooled[number], geo.take(places, chosen)


@pytest.mark.usefixtures("given_neighbors")
def test_steps_inside_the_sampler(
    sampler: GeoSampler, pooling: str, monkeypatch: pytest.MonkeyPatch, parity
) -> None:
    first_anchors: list[Tensor] = []
    pool: Callable[..., Tensor] = geo.GeoStage.pool

    def recording(stage: geo.GeoStage, neighbor: Tensor, anchor: Tensor, nearest: Tensor) -> Tensor:
        joined = geo.take(neighbor, nearest) + anchor[:, :, None]
        first_anchors.append(stage.norm(joined.relu())[:, 0].detach())
        return pool(stage, neighbor, anchor, nearest)

    monkeypatch.setattr(geo.GeoStage, "pool", recording)
    flattened: list[Tensor] = []
    sampler.flatten.register_forward_hook(lambda _, __, output: flattened.append(output))
    sampler(grids(GOLDEN["feature_map"]), points(), IMAGE)
    for stage, found in enumerate(first_anchors):
        largest = apart(found, STEPS[f"{pooling}.stage{stage}.agg_first_anchor"])
        what = f"sampler, {pooling}: neighbours of an anchor before pooling, stage {stage + 1}"
        parity.add(what, cases=4 * 24, difference=largest)
        assert largest < 1e-5
    close(parity, f"sampler, {pooling}: flattened", flattened[0], STEPS[f"{pooling}.flatten_out"])


@pytest.mark.usefixtures("given_neighbors")
def test_sampler_gradients(sampler: GeoSampler, pooling: str, parity) -> None:
    feature_map = GOLDEN["feature_map"].clone().requires_grad_()
    output = sampler(grids(feature_map), points(), IMAGE)
    (output * GOLDEN["loss_projection"]).sum().backward()
    torch.testing.assert_close(feature_map.grad, GOLDEN[f"{pooling}.grads.feature_map"], atol=2e-5, rtol=1e-4)
    checked = 0
    for name, parameter in sampler.named_parameters():
        expected = GOLDEN.get(f"{pooling}.grads.{theirs(name)}")
        if expected is not None:
            checked += 1
            largest = float((parameter.grad - expected.reshape(parameter.shape)).abs().max())
            relative = largest / float(expected.abs().max())
            parity.add(f"sampler, {pooling}: gradients, relative", difference=relative)
            assert relative < 1e-4, name
    assert checked >= 15


def test_mean_encoder_and_its_gradients(parity) -> None:
    encoder = MeanEncoder(32, 48, geometry="original")
    encoder.projection.load_state_dict(
        {kind: GOLDEN[f"adapter.weights.region_fea_adapter.{kind}"] for kind in ("weight", "bias")}
    )
    feature_map = GOLDEN["feature_map"].clone().requires_grad_()
    per_region = GOLDEN["adapter.points_pixel_xy"].float().split(GOLDEN["adapter.num_points"].tolist())
    output = torch.cat(
        [
            encoder(grids(feature_map), (xy / SIZE_WH[image])[None], image[None])
            for xy, image in zip(per_region, IMAGE, strict=True)
        ]
    )
    close(parity, "mean encoder: output", output, GOLDEN["adapter.output"])
    (output * GOLDEN["loss_projection"]).sum().backward()
    torch.testing.assert_close(feature_map.grad, GOLDEN["adapter.grads.feature_map"], atol=1e-5, rtol=1e-4)
    for kind, parameter in encoder.projection.named_parameters():
        expected = GOLDEN[f"adapter.grads.region_fea_adapter.{kind}"]
        torch.testing.assert_close(parameter.grad, expected, atol=2e-5, rtol=1e-4)
