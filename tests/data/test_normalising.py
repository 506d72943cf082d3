"""Pictures normalised by a table, bit for bit as the image processor does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from mustela.data.normalising import Normaliser, _gathered, _table, normalise
from mustela.data.resizing import RESIZERS, fitted, planes, resize_with_torch
from mustela.errors import RegionError
from mustela.regions import Pad, Stretch
from mustela.regions.transform import resize

PLAIN = {"do_resize": False, "do_center_crop": False}


def pictures(*sizes_wh: tuple[int, int]) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes_wh
    ]


class Counting:
    """An image processor that counts its calls."""

    def __init__(self, processor) -> None:
        self.processor, self.calls = processor, 0

    def __call__(self, images, **options):
        self.calls += 1
        return self.processor(images, **options)


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(**PLAIN),
        SiglipImageProcessorPil(do_resize=False),
        SiglipImageProcessorPil(do_resize=False, do_normalize=False),
    ],
)
def test_the_table_gives_the_numbers_of_the_image_processor(processor) -> None:
    images = pictures((48, 32), (48, 32))
    counting = Counting(processor)
    pixels = [planes(image) for image in images]
    first, second = normalise(pixels, counting), normalise(pixels[1:], counting)
    expected = processor(images, return_tensors="pt")["pixel_values"]
    assert torch.equal(first["pixel_values"], expected)
    assert torch.equal(second["pixel_values"], expected[1:])
    assert counting.calls == 2  # the trial


def test_pictures_left_as_bytes_are_finished_to_the_same_numbers() -> None:
    processor = SiglipImageProcessorPil(do_resize=False)
    pixels = [planes(image) for image in pictures((48, 32), (48, 32))]
    left = normalise(pixels, processor, as_bytes=True)
    assert left["pixel_values"].dtype == torch.uint8
    batch = {**left, "input_ids": torch.tensor([1])}
    made = Normaliser({"pixel_values": processor, "tile_pixel_values": processor})(batch)
    assert torch.equal(made["pixel_values"], normalise(pixels, processor)["pixel_values"])
    assert made["input_ids"] is batch["input_ids"]
    # As on a GPU.
    assert torch.equal(_gathered(batch["pixel_values"], _table(processor)), made["pixel_values"])
    # Done again, it finds nothing to do.
    again = Normaliser({"pixel_values": processor})(made)
    assert again["pixel_values"] is made["pixel_values"]


def test_what_no_table_holds_is_never_left_as_bytes() -> None:
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    pixels = [planes(image) for image in pictures((48, 32))]
    found = normalise(pixels, processor, as_bytes=True)["pixel_values"]
    assert torch.equal(found, normalise(pixels, processor)["pixel_values"])
    assert Normaliser({"pixel_values": processor})({"pixel_values": found})["pixel_values"] is found


@pytest.mark.parametrize("size_wh", [(61, 47), (2300, 2000)])
def test_torch_reads_pictures_in_one_piece_of_memory_and_in_several(size_wh) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size_wh[::-1], 3), dtype=np.uint8))
    before = np.array(image)
    found = np.asarray(resize_with_torch(image, (40, 30)))
    assert np.abs(found.astype(int) - np.asarray(resize(image, (40, 30)))).max() <= 2
    assert np.array_equal(np.asarray(image), before)


@pytest.mark.parametrize("sides", [(16, 17), (19, 13), (32, 32)])
def test_a_processor_that_does_more_is_called_itself(sides) -> None:
    processor = SiglipImageProcessorPil(size={"height": sides[0], "width": sides[1]})
    images = pictures((48, 32))
    found = normalise([planes(images[0])], processor)["pixel_values"]
    assert torch.equal(found, processor(images, return_tensors="pt")["pixel_values"])
    assert found.shape == (1, 3, *sides)


@pytest.mark.parametrize("size_wh", [(28, 28), (90, 20), (61, 47)])
def test_torch_resizes_as_pillow_but_for_rounding(size_wh) -> None:
    smooth = pictures((12, 9))[0].resize((61, 47), Image.Resampling.BICUBIC)
    found, expected = np.asarray(resize_with_torch(smooth, size_wh)), np.asarray(resize(smooth, size_wh))
    away = np.abs(found.astype(int) - expected)
    assert away.max() <= 2
    assert away.mean() < 0.25


@pytest.mark.parametrize("target_wh", [(28, 28), (61, 47)])
@pytest.mark.parametrize("kind", [Stretch, Pad])
def test_planes_are_those_of_the_fitted_picture(kind, target_wh) -> None:
    (image,) = pictures((61, 47))
    transform = kind(image.size, target_wh)
    for name, resizer in RESIZERS.items():
        expected = planes(transform.apply(image, resizer=resizer))
        assert np.array_equal(fitted(image, transform, resize=name), expected)


def test_planes_of_another_picture_are_refused() -> None:
    with pytest.raises(RegionError, match="61"):
        fitted(pictures((30, 47))[0], Stretch((61, 47), (28, 28)), resize="torch")
