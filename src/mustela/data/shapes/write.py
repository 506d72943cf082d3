"""Writing a synthetic data set: pictures in `images/` and Ferret-format JSON files beside it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from mustela.data.shapes.record import SPLIT_FILES, records_of, scene_of
from mustela.data.shapes.world import World, load_world
from mustela.errors import ConfigError

_CHUNK = 16


@dataclass(frozen=True)
class WrittenFile:
    """A JSON file and its numbers of pictures, records and questions."""

    path: Path
    pictures: int
    records: int
    questions: int


@dataclass(frozen=True)
class _SceneText:
    """What one scene adds to one file."""

    text: str
    records: int
    questions: int


def write_shapes(
    out: str | Path,
    *,
    train: int,
    val: int,
    seed: int = 0,
    world: str | Path = "first",
    workers: int = 1,
    force: bool = False,
) -> list[WrittenFile]:
    """Write `train` and `val` scenes as pictures and JSON files into the folder `out`.

    Scene number i of a split depends only on (world, seed, split, i): asking for more scenes keeps the earlier
    ones, and `workers` processes write the same bytes as one. Raises ConfigError for a folder that isn't empty,
    unless `force`: then files are replaced, and pictures of an earlier set that have other names stay.
    """
    folder = Path(out)
    if train < 0 or val < 0 or train + val == 0:
        raise ConfigError(f"Nothing to write with {train} training and {val} validation scenes: ask for some.")
    if workers < 1:
        raise ConfigError(f"workers is {workers}: at least 1 process has to do the work.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a folder to write into.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ConfigError(f"The folder {folder} is not empty: choose another one, or add --force to write over it.")
    load_world(world)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    written: list[WrittenFile] = []
    for split, count in (("train", train), ("val", val)):
        if count:
            written += _write_split(folder, split, count, seed=seed, world=str(world), workers=workers)
    return written


def _write_split(
    folder: Path, split: str, count: int, *, seed: int, world: str, workers: int
) -> list[WrittenFile]:
    make = partial(_write_scene, world_name=world, seed=seed, split=split, images=folder / "images")
    paths = {name: folder / f"{name}.json" for name in SPLIT_FILES[split]}
    records, questions = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0)
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            for name, path in paths.items()
        }
        for scene in _in_order(make, count, workers=workers, stack=stack):
            for name, added in scene.items():
                if added.records:
                    files[name].write((",\n" if records[name] else "[\n") + added.text)
                    records[name] += added.records
                    questions[name] += added.questions
        for name, file in files.items():
            file.write("\n]\n" if records[name] else "[]\n")
    return [WrittenFile(path, count, records[name], questions[name]) for name, path in paths.items()]


def _in_order(
    make: Callable[[int], dict[str, _SceneText]], count: int, *, workers: int, stack: ExitStack
) -> Iterator[dict[str, _SceneText]]:
    if workers == 1:
        return map(make, range(count))
    # Fresh processes: forking one that has threads, such as one that uses torch, can hang.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    return stack.enter_context(pool).map(make, range(count), chunksize=_CHUNK)


def _write_scene(
    index: int, *, world_name: str, seed: int, split: str, images: Path
) -> dict[str, _SceneText]:
    """Save one picture, every fourth without loss; return what the scene adds to each file of the split."""
    world = _world(world_name)
    scene = scene_of(world, seed=seed, split=split, index=index)
    if index % 4 == 3:
        image = f"{split}_{index:06d}.png"
        scene.image.save(images / image, compress_level=4)
    else:
        image = f"{split}_{index:06d}.jpg"
        scene.image.save(images / image, quality=93, subsampling=0)
    added: dict[str, _SceneText] = {}
    for name in SPLIT_FILES[split]:
        records = records_of(scene, world, name=name, seed=seed, split=split, index=index, image=image)
        added[name] = _SceneText(
            ",\n".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in records),
            len(records),
            sum(len(record["conversations"]) // 2 for record in records),
        )
    return added


@lru_cache(maxsize=4)
def _world(name: str) -> World:
    return load_world(name)
