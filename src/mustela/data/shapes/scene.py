"""Scenes: a picture with its objects, each with the mask of its visible pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mustela.data.shapes.outlines import BoolArray, FloatArray
from mustela.data.shapes.paint import blend, paint_background, shape_alpha
from mustela.data.shapes.patch import Patch
from mustela.data.shapes.world import Colour, Rgb, Shape, World
from mustela.regions import Mask

MIN_VISIBLE_SHARE = 0.56
MIN_VISIBLE_SIDE = 10
_MIN_SIDE, _MAX_SIDE = 96, 256
_PLACEMENT_TRIES = 24


@dataclass(frozen=True, eq=False)
class Thing:
    """One object: its kind, the mask of its visible pixels (H, W) and the box tight to them, in pixels."""

    number: int
    shape: Shape
    colour: Colour
    mask: BoolArray
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """Colour and shape, as in "red star"."""
        return f"{self.colour.name} {self.shape.name}"

    @cached_property
    def area(self) -> int:
        """Number of visible pixels."""
        return int(self.mask.sum())

    @cached_property
    def patch(self) -> Patch:
        """The mask within the box."""
        left, top, right, bottom = self.box
        return Patch(self.mask[top:bottom, left:right])

    @cached_property
    def rle(self) -> dict[str, object]:
        """COCO's compressed RLE of the mask, with the counts as text."""
        return Mask.from_array(self.mask).to_rle()

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its objects, numbered in raster order (by the top of the box, then its left side)."""

    image: Image.Image
    things: tuple[Thing, ...]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.image.size


@dataclass(eq=False)
class _Placed:
    shape: Shape
    colour: Colour
    centre: tuple[float, float]
    radius: float
    full: BoolArray
    area: int
    visible: BoolArray
    corner: tuple[int, int]
    fill: FloatArray
    border: FloatArray


def draw_scene(world: World, rng: np.random.Generator) -> Scene:
    """Make up one scene of `world`: 2 to 6 objects of which each stays well visible."""
    size_wh = _picture_size(rng)
    wanted = int(rng.integers(2, 7))
    placed: list[_Placed] = []
    while len(placed) < 2:
        placed = []
        kinds = _choose_kinds(world, rng, count=wanted)
        for shape, colour in kinds:
            _place(placed, shape, colour, rng, size_wh=size_wh)
    background = _choose_background(world, rng, [item.colour.rgb for item in placed])
    picture = paint_background(rng, size_wh=size_wh, rgb=background)
    for item in placed:
        ink = np.clip(np.array(item.colour.rgb) + rng.uniform(-9.0, 9.0, 3), 0.0, 255.0)
        line = ink * 0.55 if ink.max() > 60.0 else ink + 70.0
        blend(picture, corner_xy=item.corner, fill=item.fill, border=item.border, rgb=ink, border_rgb=line)
    image = Image.fromarray(np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8))
    boxes = [tight_box(item.visible) for item in placed]
    order = sorted(range(len(placed)), key=lambda index: (boxes[index][1], boxes[index][0]))
    things = tuple(
        Thing(number, placed[index].shape, placed[index].colour, placed[index].visible, boxes[index])
        for number, index in enumerate(order)
    )
    return Scene(image, things)


def tight_box(mask: BoolArray) -> tuple[int, int, int, int]:
    """Smallest (x1, y1, x2, y2) that holds all pixels of a mask (H, W); x2 and y2 are exclusive."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _picture_size(rng: np.random.Generator) -> tuple[int, int]:
    longer = int(rng.integers(128, _MAX_SIDE + 1))
    shorter = max(_MIN_SIDE, round(longer * rng.uniform(0.62, 1.0)))
    return (longer, shorter) if rng.random() < 0.5 else (shorter, longer)


def _choose_kinds(world: World, rng: np.random.Generator, *, count: int) -> list[tuple[Shape, Colour]]:
    """Draw kinds; half of the scenes use few shapes and colours, so that kinds repeat or half-match."""
    few = rng.random() < 0.5
    shapes = rng.permutation(len(world.shapes))[: 3 if few else None]
    colours = rng.permutation(len(world.colours))[: 3 if few else None]
    return [(world.shapes[rng.choice(shapes)], world.colours[rng.choice(colours)]) for _ in range(count)]


def _place(
    placed: list[_Placed], shape: Shape, colour: Colour, rng: np.random.Generator, *, size_wh: tuple[int, int]
) -> None:
    """Try to add an object on top of `placed` without hiding too much of any; gives up after some tries."""
    for _ in range(_PLACEMENT_TRIES):
        host, centre, radius = _propose(placed, rng, size_wh=size_wh)
        others = [item for item in placed if item is not host]
        if any(_too_close(item, centre, radius) for item in others):
            continue
        if host is not None and _distance(host.colour.rgb, colour.rgb) < 60.0:
            continue
        drawn = shape_alpha(
            shape.rings,
            centre_xy=centre,
            radius=radius,
            turn=np.deg2rad(rng.uniform(-shape.turn, shape.turn)),
            size_wh=size_wh,
        )
        if drawn is None:
            continue
        corner, fill, border = drawn
        full = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
        full[corner[1] : corner[1] + fill.shape[0], corner[0] : corner[0] + fill.shape[1]] = fill >= 0.5
        if not full.any():
            continue
        remaining = [item.visible & ~full for item in placed]
        if all(_visible_enough(left, item.area) for left, item in zip(remaining, placed, strict=True)) and (
            _visible_enough(full, 0)
        ):
            for left, item in zip(remaining, placed, strict=True):
                item.visible = left
            placed.append(
                _Placed(shape, colour, centre, radius, full, int(full.sum()), full, corner, fill, border)
            )
            return


def _propose(
    placed: list[_Placed], rng: np.random.Generator, *, size_wh: tuple[int, int]
) -> tuple[_Placed | None, tuple[float, float], float]:
    """A place for the next object: free, or on top of, inside or across the rim of a host."""
    width, height = size_wh
    unit = min(width, height)
    host = placed[int(rng.integers(len(placed)))] if placed and rng.random() < 0.4 else None
    if host is not None:
        scale, reach = (0.42, 0.2) if rng.random() < 0.5 else (0.72, 0.95)
        radius = max(host.radius * scale * rng.uniform(0.75, 1.2), 0.09 * unit, 8.0)
        turn = rng.uniform(0.0, 2.0 * np.pi)
        away = host.radius * reach * rng.random()
        centre = (host.centre[0] + away * np.cos(turn), host.centre[1] + away * np.sin(turn))
    else:
        radius = max(unit * rng.uniform(0.13, 0.27), 10.0)
        centre = (rng.uniform(radius, width - radius), rng.uniform(radius, height - radius))
    inside = (
        float(np.clip(centre[0], radius, width - radius)),
        float(np.clip(centre[1], radius, height - radius)),
    )
    return host, inside, float(radius)


def _too_close(item: _Placed, centre: tuple[float, float], radius: float) -> bool:
    apart = np.hypot(item.centre[0] - centre[0], item.centre[1] - centre[1])
    return bool(apart < (item.radius + radius) * 0.92)


def _visible_enough(visible: BoolArray, area: int) -> bool:
    count = int(visible.sum())
    if count < MIN_VISIBLE_SHARE * area or count < 40:
        return False
    x1, y1, x2, y2 = tight_box(visible)
    return x2 - x1 >= MIN_VISIBLE_SIDE and y2 - y1 >= MIN_VISIBLE_SIDE


def _choose_background(world: World, rng: np.random.Generator, inks: list[Rgb]) -> Rgb:
    """A background that none of the objects' colours comes near, or the one that is farthest from them."""
    order = [world.backgrounds[index] for index in rng.permutation(len(world.backgrounds))]
    for rgb in order:
        if all(_distance(rgb, ink) > 165.0 for ink in inks):
            return rgb
    return max(order, key=lambda rgb: min(_distance(rgb, ink) for ink in inks))


def _distance(first: Rgb, second: Rgb) -> float:
    """Colour difference by the "redmean" weighting of RGB (0 to about 765)."""
    mean_red = (first[0] + second[0]) / 2.0
    red, green, blue = (float(a - b) for a, b in zip(first, second, strict=True))
    return float(
        np.sqrt(
            (2.0 + mean_red / 256.0) * red**2 + 4.0 * green**2 + (2.0 + (255.0 - mean_red) / 256.0) * blue**2
        )
    )
