"""How a picture is fitted to the vision encoder, as a transform that regions follow.

Two cases: mustela fits the picture itself (the classic composition: stretch or pad to the encoder's square,
or cut into tiles) and the base's image processor only normalises; or the base's own processor fits it, and
the transform is read off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mustela.errors import ConfigError
from mustela.regions import CenterCrop, Identity, Pad, Size, Stretch, Tiled, Transform, choose_grid

ASPECT_RATIOS = ("square_nocrop", "pad", "anyres")


def fit_classic(
    image_aspect_ratio: str, size_wh: Size, encoder_wh: Size, *, grids_wh: Sequence[Size] = ()
) -> Transform:
    """Return the transform from a picture to the classic composition's encoder.

    Args:
        image_aspect_ratio: `square_nocrop` stretches, `pad` keeps the aspect with borders, `anyres` cuts into
            tiles.
        size_wh: the picture.
        encoder_wh: what the encoder takes: a tile.
        grids_wh: columns and rows of tiles to choose from. A picture of one tile has none: it is stretched.

    Raises:
        ConfigError: another way of fitting.
    """
    if image_aspect_ratio == "square_nocrop":
        return Stretch(size_wh, encoder_wh)
    if image_aspect_ratio == "pad":
        return Pad(size_wh, encoder_wh)
    if image_aspect_ratio == "anyres":
        grid = choose_grid(size_wh, encoder_wh, grids_wh)
        return Stretch(size_wh, encoder_wh) if grid == (1, 1) else Tiled(size_wh, encoder_wh, grid)
    choices = ", ".join(ASPECT_RATIOS)
    raise ConfigError(f"image_aspect_ratio is {image_aspect_ratio!r}. Choose one of: {choices}.")


def fit_of_base(
    image_processor: Any, image_inputs: Mapping[str, Any], index: int, size_wh: tuple[int, int]
) -> Transform:
    """Read off how a base's image processor fitted picture number `index`.

    Args:
        image_processor: the base's.
        image_inputs: what it made of the pictures.
        index: which picture.
        size_wh: the picture's size before.

    Raises:
        ConfigError: the processor fits pictures in a way that isn't known.
    """
    if "image_grid_thw" in image_inputs:
        _, rows, columns = (int(n) for n in image_inputs["image_grid_thw"][index])
        return Stretch(size_wh, (columns * image_processor.patch_size, rows * image_processor.patch_size))
    height, width = (int(n) for n in image_inputs["pixel_values"][index].shape[-2:])
    if not image_processor.do_resize and size_wh == (width, height):
        return Identity(size_wh)
    if (
        image_processor.do_resize
        and image_processor.size.get("shortest_edge")
        and image_processor.do_center_crop
    ):
        return CenterCrop(size_wh, (width, height), int(image_processor.size["shortest_edge"]))
    if image_processor.do_resize and image_processor.size.get("height") == height:
        return Stretch(size_wh, (width, height))
    raise ConfigError(
        f"The image processor {type(image_processor).__name__} fits pictures in a way that mustela can't"
        f" follow: {size_wh[0]}x{size_wh[1]} became {width}x{height}."
        " Set image_aspect_ratio to square_nocrop or pad."
    )
