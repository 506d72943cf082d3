"""How a picture is fitted to the vision encoder, as a transform that regions follow.

Here mustela fits the picture itself (the classic composition: stretch or pad to the encoder's square, or cut
into tiles) and the base's image processor only normalises; `mustela.data.base_fitting` reads off how a base's
own processor fits it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mustela.errors import ConfigError
from mustela.regions import Pad, Size, Stretch, Tiled, Transform, choose_grid

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
