"""Region encoders: where they read, in every precision, and on the smallest regions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.region_encoders import GeoSampler, MeanEncoder, RoiEncoder, geo

CHANNELS, WIDTH = 16, 24


def encoders() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        GeoSampler(CHANNELS, WIDTH, sub_points=(16, 8), neighbors=6, pooling="max"),
        GeoSampler(CHANNELS, WIDTH, sub_points=(16, 8), neighbors=6, pooling="mean"),
        MeanEncoder(CHANNELS, WIDTH),
        RoiEncoder(CHANNELS, WIDTH, reduced=8),
    ]


ENCODERS = pytest.mark.parametrize("encoder", encoders(), ids=["geo-max", "geo-mean", "mean", "roi"])


def own_coordinates(height: int, width: int) -> FeatureGrids:
    """A grid whose cells hold (x, y) of their centres, in 0..1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)
    return FeatureGrids.from_list([cells])


def box_points(x1: float, y1: float, x2: float, y2: float, count: int = 8) -> Tensor:
    x = torch.linspace(x1, x2, count)
    y = torch.linspace(y1, y2, count)
    return torch.cartesian_prod(x, y)[None]


def random_grids(dtype: torch.dtype = torch.float32) -> FeatureGrids:
    generator = torch.Generator().manual_seed(1)
    sizes = ((5, 7), (4, 4))
    return FeatureGrids.from_list(
        [torch.randn(*size, CHANNELS, generator=generator).to(dtype) for size in sizes]
    )


def random_points(regions: int = 3) -> Tensor:
    return torch.rand(regions, 40, 2, generator=torch.Generator().manual_seed(2))


def test_aligned_reads_where_the_region_is() -> None:
    # Upper right: x in 0.7..0.9, y in 0.1..0.2 of a wide grid.
    points = box_points(0.7, 0.1, 0.9, 0.2)
    read = sample_grids(own_coordinates(10, 20), points, torch.tensor([0]), geometry="aligned")
    torch.testing.assert_close(read, points)


def test_original_reads_the_transposed_place() -> None:
    # (x, y) is looked up at column 19 * y and row 9 * x, as if the first and last cells lay on the border.
    points = box_points(0.7, 0.1, 0.9, 0.2)
    read = sample_grids(own_coordinates(10, 20), points, torch.tensor([0]), geometry="original")
    expected = torch.stack([(19 * points[..., 1] + 0.5) / 20, (9 * points[..., 0] + 0.5) / 10], dim=-1)
    torch.testing.assert_close(read, expected)


def test_aligned_reads_the_border_beyond_the_outermost_centers() -> None:
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    read = sample_grids(own_coordinates(4, 4), corners, torch.tensor([0]), geometry="aligned")
    torch.testing.assert_close(read, torch.tensor([[[0.125, 0.125], [0.875, 0.875]]]))


def test_regions_read_their_own_image() -> None:
    grids = FeatureGrids.from_list([torch.full((3, 5, 1), 1.0), torch.full((6, 2, 1), 2.0)])
    read = sample_grids(grids, random_points(2), torch.tensor([1, 0]), geometry="aligned")
    assert read[0].eq(2).all()
    torch.testing.assert_close(read[1], torch.ones_like(read[1]))


def test_grids_of_one_size_equal_grids_of_any_sizes() -> None:
    batch = torch.randn(3, 4, 5, CHANNELS)
    image = torch.tensor([2, 0, 1])
    one = sample_grids(FeatureGrids.from_batch(batch), random_points(), image, geometry="aligned")
    other = sample_grids(FeatureGrids.from_list(list(batch)), random_points(), image, geometry="aligned")
    assert torch.equal(one, other)


@ENCODERS
def test_regions_together_equal_one_by_one(encoder: nn.Module) -> None:
    grids, points, image = random_grids(), random_points(), torch.tensor([0, 1, 0])
    together = encoder(grids, points, image)
    single = torch.cat([encoder(grids, points[i : i + 1], image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, single, atol=1e-6, rtol=1e-5)


@ENCODERS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_on_the_cpu(encoder: nn.Module, dtype: torch.dtype) -> None:
    points, image = random_points(), torch.tensor([0, 1, 0])
    expected = encoder(random_grids(), points, image)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    try:
        encoder.to(dtype)
        encoder.zero_grad()
        output = encoder(random_grids(dtype), points, image)
        assert output.dtype == dtype
        assert (output.float() - expected).abs().max() < 2e-2
        output.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    finally:
        encoder.zero_grad()
        encoder.float().load_state_dict(state)


@ENCODERS
def test_a_region_of_one_pixel_is_finite_and_always_the_same(encoder: nn.Module) -> None:
    points = torch.full((1, 40, 2), 0.31)
    first = encoder(random_grids(), points, torch.tensor([0]))
    assert first.isfinite().all()
    encoder(random_grids(), random_points(), torch.tensor([0, 1, 1]))
    assert torch.equal(first, encoder(random_grids(), points, torch.tensor([0])))


@ENCODERS
def test_no_region_gives_zero_gradients(encoder: nn.Module) -> None:
    encoder.zero_grad()
    grids = FeatureGrids.empty(CHANNELS, next(encoder.parameters()))
    output = encoder(grids, torch.zeros(0, 40, 2), torch.zeros(0, dtype=torch.long))
    assert output.shape == (0, WIDTH)
    output.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in encoder.parameters())
    encoder.zero_grad()


def test_fewer_points_than_neighbors() -> None:
    encoder = GeoSampler(CHANNELS, WIDTH, sub_points=(4, 2), neighbors=24)
    output = encoder(random_grids(), random_points()[:, :4], torch.tensor([0, 1, 0]))
    assert output.isfinite().all()


@pytest.mark.parametrize("group", [1, 2])
def test_regions_in_groups_equal_all_at_once(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    encoder = encoders()[0]
    grids = FeatureGrids.from_batch(torch.randn(1, 6, 6, CHANNELS))
    points = torch.cat([box_points(0.1 * n, 0.2, 0.5 + 0.1 * n, 0.9) for n in range(5)])
    image = torch.zeros(5, dtype=torch.long)

    def gradients() -> tuple[Tensor, list[Tensor]]:
        encoder.zero_grad()
        output = encoder(grids, points, image)
        output.square().sum().backward()
        return output.detach(), [parameter.grad.clone() for parameter in encoder.parameters()]

    whole = gradients()
    monkeypatch.setattr(geo, "NUMBERS_AT_ONCE", group * 16 * 6 * CHANNELS)
    grouped = gradients()
    torch.testing.assert_close(grouped, whole)
    with torch.no_grad():
        torch.testing.assert_close(encoder(grids, points, image), whole[0])
