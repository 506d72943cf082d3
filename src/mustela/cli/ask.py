"""`mustela ask`: ask a model about an image and its regions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.cli.command import Subparsers, add_command
from mustela.cli.model_options import add_model_options, model_options
from mustela.errors import ConfigError, RegionError

if TYPE_CHECKING:
    from mustela.infer import Answer
    from mustela.regions import Region

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Ask a model about an image, print the answer and draw it.

  mustela ask shapes-base scene.jpg "What is <region>?" --box 10 20 200 180
  mustela ask shapes-base scene.jpg "Where is the red star?"

<region> stands for the regions in the order of the options, <region1>, <region2> ... for them by number.
Coordinates are pixels of the image. MODEL is a model's or adapter's folder, a run's folder, or the name
of a model that comes with mustela.
"""


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


def add_parser(subparsers: Subparsers) -> None:
    """Register `mustela ask`."""
    parser = add_command(
        subparsers,
        "ask",
        summary="ask a model about an image and its regions",
        run=run,
        description=_DESCRIPTION,
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION")
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
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="picture of question and answer (default: answer-IMAGE.png in this folder)",
    )
    add_model_options(parser)
    parser.add_argument(
        "--max_new_tokens", type=int, default=256, metavar="N", help="longest answer in tokens (default: 256)"
    )


def run(args: argparse.Namespace) -> None:
    """Ask, print the answer and its regions, and write the picture."""
    regions = [_region(kind, values) for kind, values in args.regions]
    out = Path(args.out or f"answer-{Path(args.image).stem}.png")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist.")
    from transformers.utils.logging import disable_progress_bar

    from mustela.infer import Predictor

    disable_progress_bar()
    predictor = Predictor.from_pretrained(args.model, **model_options(args))
    predictor.set_image(args.image)
    answer = predictor.ask(args.question, regions=regions, max_new_tokens=args.max_new_tokens)
    print(answer.text)
    _print_regions(answer)
    try:
        answer.draw().save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out {out}: the picture can't be written ({error}).") from error
    print(f"picture: {out}")


def _print_regions(answer: Answer) -> None:
    for found in answer.regions:
        bounds = ", ".join(f"{value:.1f}" for value in found.region.bounds_xyxy())
        repaired = f" ({found.note})" if found.repaired else ""
        print(f"  {found.phrase or type(found.region).__name__.lower()}: {bounds}{repaired}")


def _region(kind: str, values: Any) -> Region:
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
