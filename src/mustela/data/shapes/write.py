"""Writing a synthetic data set: pictures in `images/` and Ferret-format JSON files beside it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from mustela.data.shapes.record import SPLIT_FILES, records_of, scene_of
from mustela.data.shapes.world import World, load_world
from mustela.errors import ConfigError

_ABOUT = "shapes.json"
_GENERATOR = 3  # to be raised when the same arguments begin to give other files
_CHUNK = 16


@dataclass(frozen=True)
class WrittenFile:
    """A JSON file in the set's folder, and its numbers of pictures, records and questions."""

    name: str
    pictures: int
    records: int
    questions: int


@dataclass(frozen=True)
class WrittenSet:
    """A data set on disk; `fresh` is False where it was there already."""

    folder: Path
    files: tuple[WrittenFile, ...]
    fresh: bool


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
) -> WrittenSet:
    """Write `train` and `val` scenes as pictures and JSON files into the folder `out`.

    Scene number i of a split depends only on (world, seed, split, i): asking for more scenes keeps the
    earlier ones, and `workers` processes write the same bytes as one. A folder that holds this very set
    already is left as it is, one where writing this set was interrupted is written again; any other that
    isn't empty is a ConfigError, unless `force`: then files are replaced, and pictures of an earlier set
    that have other names stay.
    """
    folder = Path(out)
    _check_numbers(train=train, val=val, seed=seed, workers=workers)
    plan: dict[str, Any] = {
        "generator": _GENERATOR,
        "world": str(world),
        "digest": load_world(world).digest,
        "seed": seed,
        "train": train,
        "val": val,
    }
    found = _earlier_set(folder, plan)
    if found is not None and found.files and not force:
        return found
    if found is None and not force and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(
            f"The folder {folder} is not empty: choose another one, or add --force to write over it."
        )
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _write_about(folder, plan, ())
    files: list[WrittenFile] = []
    for split, count in (("train", train), ("val", val)):
        if count:
            files += _write_split(folder, split, count, seed=seed, world=str(world), workers=workers)
    _write_about(folder, plan, tuple(files))
    return WrittenSet(folder, tuple(files), fresh=True)


def _check_numbers(*, train: int, val: int, seed: int, workers: int) -> None:
    if train < 0 or val < 0 or train + val == 0:
        raise ConfigError(f"{train} training and {val} validation scenes: ask for at least one scene.")
    if seed < 0:
        raise ConfigError(f"seed is {seed}: it must be 0 or more.")
    if workers < 1:
        raise ConfigError(f"workers is {workers}: at least one process has to do the work.")


def _earlier_set(folder: Path, plan: dict[str, Any]) -> WrittenSet | None:
    """The set by the same plan that the folder holds, without files if its writing was interrupted."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a folder to write into.")
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if about["plan"] != plan:
            return None
        files = tuple(WrittenFile(**file) for file in about["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    complete = all((folder / file.name).is_file() for file in files)
    return WrittenSet(folder, files if complete else (), fresh=False)


def _write_about(folder: Path, plan: dict[str, Any], files: tuple[WrittenFile, ...]) -> None:
    about = {"plan": plan, "files": [asdict(file) for file in files]}
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / _ABOUT).write_text(text + "\n", encoding="utf-8", newline="\n")


def _write_split(
    folder: Path, split: str, count: int, *, seed: int, world: str, workers: int
) -> list[WrittenFile]:
    make = partial(_write_scene, world_name=world, seed=seed, split=split, images=folder / "images")
    names = tuple(SPLIT_FILES[split])
    records, questions = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    with ExitStack() as stack:
        files = {
            name: stack.enter_context((folder / f"{name}.json").open("w", encoding="utf-8", newline="\n"))
            for name in names
        }
        for scene in _in_order(make, count, workers=workers, stack=stack):
            for name, added in scene.items():
                if added.records:
                    files[name].write((",\n" if records[name] else "[\n") + added.text)
                    records[name] += added.records
                    questions[name] += added.questions
        for name, file in files.items():
            file.write("\n]\n" if records[name] else "[]\n")
    return [WrittenFile(f"{name}.json", count, records[name], questions[name]) for name in names]


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
