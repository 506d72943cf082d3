"""The ways of pointing at an object: point, box, scribble and mask, drawn from its mask with a seed."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mustela.data.shapes.patch import Patch
from mustela.data.shapes.strokes import draw_stroke, inner_pixel
from mustela.errors import RegionError
from mustela.regions import Box, Mask, Point, Region, Scribble

Form: TypeAlias = Literal["point", "box", "scribble", "mask"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
_TURNS = 3


def region_of(
    mask_hw: npt.NDArray[np.bool_],
    form: Form,
    *,
    rng: np.random.Generator,
    box_xyxy: tuple[float, float, float, float] | None = None,
) -> Region:
    """Return the region that points at an object in one of the four ways.

    Args:
        mask_hw: the object's pixels.
        form: point: the centre of a random pixel, 4 pixels inside the edge where the object is thick enough;
            box: the annotated one, else the tight one; scribble: a random stroke of up to three straight
            pieces that stays on the object; mask: the object itself.
        rng: of the random choices.
        box_xyxy: the annotated box.

    Raises:
        RegionError: the mask is empty.
    """
    if not mask_hw.any():
        raise RegionError("an object without pixels can't be pointed at.")
    if form == "point":
        x, y = inner_pixel(Patch(mask_hw), rng)
        return Point(x + 0.5, y + 0.5)
    if form == "scribble":
        stroke = draw_stroke(Patch(mask_hw), rng, turns=_TURNS)
        return Scribble(tuple((float(x), float(y)) for x, y in stroke))
    mask = Mask.from_array(mask_hw)
    return mask if form == "mask" else Box(*(box_xyxy or mask.bounds_xyxy()))
