"""How pictures were fitted, read off what a base's image processor made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from transformers import (
    CLIPImageProcessorPil,
    Gemma3ImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    LlavaNextImageProcessorPil,
    Qwen2VLImageProcessorPil,
    SiglipImageProcessorPil,
)

from mustela.data.base_fitting import BaseFit, fit_of_base
from mustela.data.fitting import fit_classic
from mustela.data.pictures import fits_of
from mustela.data.processor_settings import ProcessorSettings
from mustela.errors import ConfigError
from mustela.regions import CenterCrop, Identity, Pad, Stretch, Tiled

RED = (255, 0, 0)
PLAIN = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}


def picture(size_wh: tuple[int, int]) -> Image.Image:
    """Black, with a red square of 12 pixels around (50, 34)."""
    image = Image.new("RGB", size_wh)
    image.paste(RED, (44, 28, 56, 40))
    return image


def centre_of_red(pixels: np.ndarray) -> np.ndarray:
    """Return the centre (x, y) of the first channel `(H, W)` by weight."""
    rows, columns = np.indices(pixels.shape)
    return np.array([((columns + 0.5) * pixels).sum(), ((rows + 0.5) * pixels).sum()]) / pixels.sum()


@pytest.mark.parametrize(
    ("processor", "size_wh", "kind"),
    [
        (CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=48, **PLAIN), (96, 64), CenterCrop),
        (CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=32, **PLAIN), (70, 64), CenterCrop),
        (SiglipImageProcessorPil(size={"height": 32, "width": 32}, **PLAIN), (96, 64), Stretch),
        (SiglipImageProcessorPil(size={"height": 24, "width": 48}, **PLAIN), (96, 64), Stretch),
        (SiglipImageProcessorPil(do_resize=False, **PLAIN), (96, 64), Identity),
    ],
    ids=["crop", "crop inside", "stretch", "stretch wide", "as it is"],
)
def test_points_go_where_the_pixels_went(processor, size_wh, kind):
    image = picture(size_wh)
    inputs = processor([image], return_tensors="pt")
    fit = fit_of_base(processor, inputs, size_wh).transform
    assert isinstance(fit, kind)
    pixels = inputs["pixel_values"][0, 0].numpy().clip(0)
    assert fit.encoded_wh == pixels.shape[::-1]
    np.testing.assert_allclose(fit.points([[50, 34]])[0], centre_of_red(pixels), atol=0.3)


def test_native_resolution_is_a_stretch_to_the_grid():
    processor = Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=64 * 64)
    for size in ((90, 60), (60, 60)):
        inputs = processor([picture(size)], return_tensors="pt")
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        assert fit_of_base(processor, inputs, size) == BaseFit(Stretch(size, (columns * 8, rows * 8)))


class Base:
    """As much of a base's processor as fitting needs."""

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor

    def _merge_kwargs(self, **options: Any) -> dict[str, Any]:
        return {"images_kwargs": options}


def test_fits_are_known_before_there_are_pictures() -> None:
    processor = Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=64 * 64)
    base = Base(processor)
    sizes = [(90, 60), (60, 60), (90, 60)]
    found = fits_of(sizes, base, ProcessorSettings())
    for size, fit in zip(sizes, found, strict=True):
        assert fit == fit_of_base(processor, processor([picture(size)], return_tensors="pt"), size).transform
    classic = ProcessorSettings(image_aspect_ratio="pad", resized_image_wh=(32, 32))
    assert fits_of(sizes, base, classic) == tuple(Pad(size, (32, 32)) for size in sizes)


def test_an_unknown_way_is_refused_with_sizes():
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=False)
    inputs = processor([picture((96, 64))], return_tensors="pt")
    with pytest.raises(ConfigError, match=r"96x64 became 48x32\. It follows those"):
        fit_of_base(processor, inputs, (96, 64))


CANVASES = [[32, 64], [64, 32], [64, 64], [32, 96]]
TILED = {
    "pinpoints": LlavaNextImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=CANVASES,
        **PLAIN,
    ),
    "split": Idefics3ImageProcessorPil(
        size={"longest_edge": 96}, max_image_size={"longest_edge": 32}, return_row_col_info=True, **PLAIN
    ),
    "patches": GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6, **PLAIN
    ),
}


@pytest.mark.parametrize("size_wh", [(96, 64), (60, 90), (150, 41)], ids=str)
@pytest.mark.parametrize("kind", TILED)
def test_joined_tiles_show_the_canvas_that_points_go_to(kind, size_wh):
    made = TILED[kind]([picture(size_wh)], return_tensors="pt")
    fit = fit_of_base(TILED[kind], made, size_wh)
    rows, columns = fit.tiles_rc
    assert fit.transform.encoded_wh == (columns * 32, rows * 32)
    pixels = made["pixel_values"].flatten(0, -4)[:, 0]
    tiles = pixels[1:] if kind == "pinpoints" else pixels[:-1]
    canvas = tiles.unflatten(0, (rows, columns)).transpose(1, 2).flatten(0, 1).flatten(1, 2).numpy()
    np.testing.assert_allclose(fit.transform.points([[50, 34]])[0], centre_of_red(canvas.clip(0)), atol=0.3)
    overview = pixels[0 if kind == "pinpoints" else -1].numpy().clip(0)
    expected = np.array([50 / size_wh[0], 34 / size_wh[1]]) * 32
    np.testing.assert_allclose(centre_of_red(overview), expected, atol=0.3)
    left, top, right, bottom = fit.content_xyxy
    corners = fit.transform.points([(0, 0), size_wh])
    np.testing.assert_allclose(corners, [(left, top), (right, bottom)], atol=1)


def test_crops_beside_a_picture_are_refused():
    processor = Gemma3ImageProcessorPil(
        size={"height": 32, "width": 32},
        do_pan_and_scan=True,
        pan_and_scan_min_crop_size=8,
        pan_and_scan_max_num_crops=4,
        pan_and_scan_min_ratio_to_activate=1.2,
    )
    made = processor([picture((160, 60))], return_tensors="pt")
    with pytest.raises(ConfigError, match="do_pan_and_scan: false"):
        fit_of_base(processor, made, (160, 60))


def test_ways_of_the_classic_composition():
    assert fit_classic("square_nocrop", (9, 5), (4, 4)) == Stretch((9, 5), (4, 4))
    assert fit_classic("pad", (9, 5), (4, 4)) == Pad((9, 5), (4, 4))
    assert fit_classic("anyres", (9, 5), (4, 4), grids_wh=[(1, 1), (2, 1)]) == Tiled((9, 5), (4, 4), (2, 1))
    assert fit_classic("anyres", (4, 4), (4, 4), grids_wh=[(1, 1), (2, 1)]) == Stretch((4, 4), (4, 4))
    with pytest.raises(ConfigError, match=r"'crop'\. Choose one of: square_nocrop, pad, anyres"):
        fit_classic("crop", (9, 5), (4, 4))


@pytest.mark.parametrize("name", ["small_37x53", "wide_90x200"])
def test_stretched_pictures_have_the_numbers_of_the_original(name: str, parity) -> None:
    golden = load_file(Path(__file__).parents[1] / "golden" / "image_square_nocrop.safetensors")
    image = Image.fromarray(golden[f"in.{name}"])
    fitted = fit_classic("square_nocrop", image.size, (56, 56)).apply(image)
    processor = CLIPImageProcessorPil(do_resize=False, do_center_crop=False)
    pixels = processor([fitted], return_tensors="np")["pixel_values"][0]
    away = float(np.abs(pixels - golden[f"out.{name}"]).max())
    parity.add("pictures, square_nocrop: pixels", cases=pixels.size, difference=away)
    assert away < 1e-6
