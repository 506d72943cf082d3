"""Regions as JSON values, the form in which record files hold them.

`{"type": "box", "xyxy": [x1, y1, x2, y2]}`, `{"type": "point", "xy": [x, y]}`, `{"type": "scribble",
"points": [[x, y], ...], "width": w}`, `{"type": "polygon", "rings": [[x1, y1, ...], ...]}` and `{"type":
"mask", "size": [h, w], "counts": str | list}`; all in pixels, the kind always named, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mustela.errors import RegionError
from mustela.regions.found import FoundRegion
from mustela.regions.mask import Mask
from mustela.regions.types import SCRIBBLE_WIDTH, Box, Point, Polygon, Region, Scribble

_KEYS: Mapping[str, frozenset[str]] = {
    "point": frozenset({"xy"}),
    "box": frozenset({"xyxy"}),
    "scribble": frozenset({"points", "width"}),
    "polygon": frozenset({"rings"}),
    "mask": frozenset({"size", "counts"}),
}
_OPTIONAL = frozenset({"width"})


def region_to_json(region: Region) -> dict[str, object]:
    """Return the JSON form of a region; whole numbers are written without a decimal point."""
    match region:
        case Point(x, y):
            return {"type": "point", "xy": [_plain(x), _plain(y)]}
        case Box(x1, y1, x2, y2):
            return {"type": "box", "xyxy": [_plain(x1), _plain(y1), _plain(x2), _plain(y2)]}
        case Scribble(points, width):
            return {
                "type": "scribble",
                "points": [[_plain(x), _plain(y)] for x, y in points],
                "width": _plain(width),
            }
        case Polygon(rings):
            return {
                "type": "polygon",
                "rings": [[_plain(value) for xy in ring for value in xy] for ring in rings],
            }
        case Mask():
            return {"type": "mask", **region.to_rle()}


def found_to_json(found: FoundRegion) -> dict[str, object]:
    """Return the JSON form of a region of an answer.

    `{"box_xyxy": [x1, y1, x2, y2]}` or `{"point_xy": [x, y]}`, in pixels, with `span`, `phrase`, `repaired`.
    """
    region = found.region
    place: dict[str, object] = (
        {"point_xy": [region.x, region.y]}
        if isinstance(region, Point)
        else {"box_xyxy": list(region.bounds_xyxy())}
    )
    return {**place, "span": list(found.span), "phrase": found.phrase, "repaired": found.repaired}


def region_from_json(value: object, *, ignore: Sequence[str] = ()) -> Region:
    """Return the region of a JSON object; keys named in `ignore` belong to the caller.

    Anything else (an unknown type or key, a missing one, numbers that are strings or not finite, wrong
    counts) is a `RegionError`. The input is never changed.
    """
    if not isinstance(value, Mapping):
        raise RegionError(f"a region is an object with a 'type', got {_shorten(value)}.")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise RegionError(f"region type is {kind!r}. It is one of {', '.join(sorted(_KEYS))}.")
    keys = _KEYS[kind]
    present = set(value) - {"type", *ignore}
    missing, unknown = keys - present - _OPTIONAL, present - keys
    if missing or unknown:
        what = [f"lacks {', '.join(map(repr, sorted(missing)))}"] if missing else []
        what += [f"has the unknown {', '.join(map(repr, sorted(map(str, unknown))))}"] if unknown else []
        raise RegionError(
            f"{kind} {' and '.join(what)}. It has 'type', {', '.join(map(repr, sorted(keys)))}."
        )
    match kind:
        case "point":
            return Point(*_numbers(value["xy"], 2, "point xy"))
        case "box":
            return Box(*_numbers(value["xyxy"], 4, "box xyxy"))
        case "scribble":
            points = tuple(_pair(point) for point in _list(value["points"], "scribble points"))
            return Scribble(points, value.get("width", SCRIBBLE_WIDTH))
        case "polygon":
            return Polygon(
                tuple(_ring(ring, index) for index, ring in enumerate(_list(value["rings"], "rings")))
            )
    return Mask.from_rle({"size": value["size"], "counts": value["counts"]})


def _list(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise RegionError(f"{what} is {_shorten(value)}. It is a list.")
    return value


def _numbers(value: object, count: int, what: str) -> list[float]:
    numbers = _list(value, what)
    if len(numbers) != count:
        raise RegionError(f"{what} has {len(numbers)} numbers, not {count}: {_shorten(value)}.")
    return [_as_number(number, what) for number in numbers]


def _pair(value: object) -> tuple[float, float]:
    x, y = _numbers(value, 2, "scribble point")
    return x, y


def _ring(value: object, index: int) -> tuple[tuple[float, float], ...]:
    numbers = _list(value, f"polygon ring {index}")
    if len(numbers) < 6 or len(numbers) % 2:
        raise RegionError(
            f"polygon ring {index} has {len(numbers)} numbers. "
            "A polygon needs >= 6 numbers, even count, in each ring."
        )
    flat = [_as_number(number, f"polygon ring {index}") for number in numbers]
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _as_number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RegionError(f"{what} holds {_shorten(value)}. Coordinates are numbers in pixels.")
    return value


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
