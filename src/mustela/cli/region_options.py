"""Regions as words of a command line, or of a line that is typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mustela.errors import RegionError

if TYPE_CHECKING:
    from mustela.regions import Region

__all__ = ["add_region_options", "region_of"]


class _AppendRegion(argparse.Action):
    """Keeps regions of all kinds in one list, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.regions = [*namespace.regions, (self.dest, values)]


def add_region_options(parser: argparse.ArgumentParser) -> None:
    """Declare an option for each kind of region; they are gathered in `args.regions` as (kind, values)."""
    shapes: list[tuple[str, int | str, tuple[str, ...] | str, str]] = [
        ("point", 2, ("X", "Y"), "a point"),
        ("box", 4, ("X1", "Y1", "X2", "Y2"), "a box"),
        ("scribble", "+", "N", "a stroke: x1 y1 x2 y2 ..."),
        ("polygon", "+", "N", "an outline: x1 y1 x2 y2 x3 y3 ..."),
    ]
    group = parser.add_argument_group("regions, each as often as wanted")
    for name, count, metavar, text in shapes:
        group.add_argument(
            f"--{name}",
            nargs=count,
            type=float,
            metavar=metavar,
            action=_AppendRegion,
            help=text,
            default=argparse.SUPPRESS,
        )
    group.add_argument(
        "--mask",
        metavar="FILE",
        action=_AppendRegion,
        help="an image, .npy or RLE .json",
        default=argparse.SUPPRESS,
    )
    parser.set_defaults(regions=[])


def region_of(kind: str, values: Any) -> Region:
    """Return the region that an option names, or a RegionError that says what is wrong with it."""
    from mustela.regions import Box, Mask, Point, Polygon, Scribble

    try:
        if kind == "mask":
            return Mask.from_file(values)
        if kind == "point":
            return Point(*values)
        if kind == "box":
            return Box(*values)
        points = _pairs(values)
        return Scribble(points) if kind == "scribble" else Polygon((points,))
    except RegionError as error:
        raise RegionError(f"--{kind} {_shown(values)}: {error}") from error


def _pairs(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    if len(values) % 2:
        raise RegionError(f"{len(values)} numbers are not x y pairs.")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _shown(values: Any) -> str:
    return values if isinstance(values, str) else " ".join(f"{value:g}" for value in values)
