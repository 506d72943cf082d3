"""Worlds: the shapes, colours and words of a synthetic data set, read from a JSON file."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from mustela.data.shapes.outlines import OUTLINES, Rings
from mustela.errors import ConfigError

_FOLDER = Path(__file__).parent
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Shape:
    """A drawable shape: its words, outline rings in [-1, 1]² and greatest rotation in degrees."""

    name: str
    plural: str
    rings: Rings
    turn: float


@dataclass(frozen=True)
class Colour:
    """A named colour, RGB in 0..255."""

    name: str
    rgb: Rgb


@dataclass(frozen=True)
class World:
    """All that may appear in a picture, and the words and phrasings for it."""

    name: str
    shapes: tuple[Shape, ...]
    colours: tuple[Colour, ...]
    backgrounds: tuple[Rgb, ...]
    thing: tuple[str, str]
    phrasings: dict[str, dict[str, list[str] | str]]
    digest: str
    """Short fingerprint of the world's file and of the phrasings."""


def world_names() -> tuple[str, ...]:
    """Names of the worlds that ship with the package."""
    return tuple(sorted(path.stem for path in (_FOLDER / "worlds").glob("*.json")))


def load_world(name_or_path: str | Path, *, phrasings: str | Path | None = None) -> World:
    """Read a world by its shipped name or from a JSON file.

    `phrasings` replaces the shipped phrasings file. Raises ConfigError for an unknown name or a bad file.
    """
    path = _FOLDER / "worlds" / f"{name_or_path}.json"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"There is no world {str(name_or_path)!r}: give one of {', '.join(world_names())}, "
            "or the path of a JSON file."
        )
    wording = Path(phrasings) if phrasings is not None else _FOLDER / "phrasings.json"
    try:
        texts = path.read_bytes(), wording.read_bytes()
        raw = json.loads(texts[0])
        return World(
            name=raw["name"],
            shapes=tuple(
                Shape(item["name"], item["plural"], OUTLINES[item["outline"]](), float(item["turn"]))
                for item in raw["shapes"]
            ),
            colours=tuple(Colour(item["name"], _rgb(item["rgb"])) for item in raw["colours"]),
            backgrounds=tuple(_rgb(item) for item in raw["backgrounds"]),
            thing=(raw["thing"][0], raw["thing"][1]),
            phrasings=json.loads(texts[1]),
            digest=f"{zlib.crc32(b''.join(texts)):08x}",
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ConfigError(
            f"{path}: not a world file ({type(error).__name__}: {error}). "
            f"Outlines are {', '.join(OUTLINES)}; see {_FOLDER / 'worlds' / 'first.json'} for the form."
        ) from error


def _rgb(values: list[int]) -> Rgb:
    red, green, blue = values
    return int(red), int(green), int(blue)
