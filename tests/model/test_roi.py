"""The region encoder that keeps a region's layout, and convolutional towers."""

from __future__ import annotations

import torch

from mustela.model.grids import FeatureGrids
from mustela.model.region_encoders import RoiEncoder
from mustela.model.region_encoders.roi import over_box


def _encoder() -> RoiEncoder:
    torch.manual_seed(0)
    return RoiEncoder(5, 8, size=3, reduced=4)


def _grids(count: int = 2) -> FeatureGrids:
    return FeatureGrids.from_batch(torch.randn(count, 8, 8, 5, generator=torch.Generator().manual_seed(1)))


def test_a_region_gives_the_same_vector_alone_and_among_others() -> None:
    encoder, grids = _encoder(), _grids()
    points = torch.rand(3, 16, 2, generator=torch.Generator().manual_seed(2))
    image = torch.tensor([0, 1, 0])
    together = encoder(grids, points, image)
    assert together.shape == (3, 8)
    for index in range(3):
        alone = encoder(grids, points[index : index + 1], image[index : index + 1])
        torch.testing.assert_close(alone[0], together[index])


def test_the_grid_moves_with_the_region() -> None:
    encoder = _encoder()
    left = torch.zeros(1, 8, 8, 5)
    left[:, 2:5, 1:4] = torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(3))
    right = left.roll(3, dims=2)
    points = torch.rand(1, 32, 2, generator=torch.Generator().manual_seed(4)) * 0.25 + torch.tensor(
        [0.15, 0.27]
    )
    moved = points + torch.tensor([3 / 8, 0.0])
    first = encoder(FeatureGrids.from_batch(left), points, torch.tensor([0]))
    second = encoder(FeatureGrids.from_batch(right), moved, torch.tensor([0]))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_point_is_read_with_its_surroundings() -> None:
    encoder, grids = _encoder(), _grids(1)
    point, image = torch.full((1, 4, 2), 0.5), torch.tensor([0])
    before = encoder(grids, point, image)
    near, far = grids.table.clone(), grids.table.clone()
    near[3 * 8 + 3] += 1.0  # the cell that ends at the point
    far[0] += 1.0
    assert not torch.equal(encoder(grids.with_table(near), point, image), before)
    assert torch.equal(encoder(grids.with_table(far), point, image), before)


def test_the_box_has_a_margin_and_its_parts_are_no_finer_than_the_features() -> None:
    cell = torch.tensor([[0.125, 0.0625], [0.001, 0.001]])
    points = torch.tensor([[[0.4, 0.5], [0.6, 0.5]], [[0.4, 0.3], [0.6, 0.7]]])
    places = over_box(points, 4, cell)
    side = (places.amax(1) - places.amin(1)) * 4 / 3
    torch.testing.assert_close(side, torch.tensor([[0.5, 0.25], [0.24, 0.48]]))
    torch.testing.assert_close(places.mean(1), torch.tensor([[0.5, 0.5], [0.5, 0.5]]))


def test_a_region_of_one_point_is_finite_and_no_region_gives_zero_gradients() -> None:
    encoder, grids = _encoder(), _grids()
    point = torch.full((1, 16, 2), 0.4)
    assert encoder(grids, point, torch.tensor([1])).isfinite().all()
    none = encoder(grids, torch.zeros(0, 16, 2), torch.zeros(0, dtype=torch.long))
    none.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in encoder.parameters())
