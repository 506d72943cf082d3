"""Folders that count only when they were written to the end: checkpoints and models."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mustela.errors import CheckpointError
from mustela.train.files import sync, write_json

COMPLETE = "complete.json"
CHECKPOINT_PREFIX = "checkpoint-"
# Where a checkpoint is written before it gets its name.
ASIDE = "unfinished"


def mark_complete(folder: Path, content: Mapping[str, Any]) -> None:
    """Mark that a folder was written to the end, with sizes and hashes, and sync all to the disk."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != COMPLETE]
    files = {str(path.relative_to(folder)): path.stat().st_size for path in paths}
    hashes = {str(path.relative_to(folder)): _sha256(path) for path in paths}
    write_json(folder / COMPLETE, {**content, "files": files, "sha256": hashes})
    for path in (*paths, folder / COMPLETE, *(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync(path)


def put_in_place(written: Path, target: Path) -> None:
    """Give a folder that was written aside its name; what had the name before goes after that."""
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    written.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def is_complete(folder: Path) -> bool:
    """Say whether a folder was written to the end and all its files still have their sizes."""
    try:
        files = json.loads((folder / COMPLETE).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return False
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files.items()
    )


def damaged_files(folder: Path) -> list[str]:
    """List the files of a marked folder that are missing or differ from its mark, or the mark itself."""
    try:
        mark = json.loads((folder / COMPLETE).read_text("utf-8"))
        sizes, hashes = mark["files"], mark.get("sha256", {})
    except (OSError, ValueError, KeyError):
        return [COMPLETE]
    found = []
    for name, size in sizes.items():
        path = folder / name
        if (
            not path.is_file()
            or path.stat().st_size != size
            or (name in hashes and _sha256(path) != hashes[name])
        ):
            found.append(name)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List the checkpoint folders of a stage by step, complete or not."""
    found = []
    for path in folder.glob(f"{CHECKPOINT_PREFIX}*"):
        step = path.name.removeprefix(CHECKPOINT_PREFIX)
        if path.is_dir() and step.isdigit():
            found.append((int(step), path))
    return sorted(found)


def newest_checkpoint(folder: Path, *, tell: Callable[[str], None] = lambda message: None) -> Path | None:
    """Find the undamaged checkpoint with the highest step; `tell` gets a warning for each that is skipped."""
    for _, path in reversed(checkpoints(folder)):
        damaged = damaged_files(path)
        if not damaged:
            return path
        tell(f"Warning: {path} is damaged or was not written to the end, and skipped: {', '.join(damaged)}.")
    return None


def remove_incomplete(folder: Path) -> None:
    """Delete what a kill left: checkpoints that were not written to the end, and replaced ones."""
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
    for path in folder.glob(f"{CHECKPOINT_PREFIX}*.old"):
        shutil.rmtree(path)
    for _, path in checkpoints(folder):
        if not is_complete(path):
            shutil.rmtree(path)


def rotate(folder: Path, *, keep: int | None, protect: Path | None = None) -> None:
    """Delete the oldest complete checkpoints over a limit, never the newest nor the protected one."""
    if keep is None or keep <= 0:
        return
    own = [path for _, path in checkpoints(folder) if path != protect]
    kept = max(keep - (protect is not None), 1)
    for path in own[:-kept]:
        # Without its mark first: a half-deleted folder must not pass for a checkpoint.
        (path / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def check_resumable(checkpoint: Path) -> None:
    """Make sure that an explicitly named checkpoint is one.

    Raises:
        CheckpointError: it is not there or was not written to the end.
    """
    if not checkpoint.is_dir():
        raise CheckpointError(f"{checkpoint}: there is no such checkpoint folder.")
    damaged = damaged_files(checkpoint)
    if damaged:
        raise CheckpointError(
            f"{checkpoint} was not written to the end or is damaged; missing or different: "
            f"{', '.join(damaged)}. "
            "Name an earlier one, or leave --resume_from_checkpoint out to take the newest complete one."
        )


def check_processes(checkpoint: Path, processes: int) -> None:
    """Make sure that a checkpoint is gone on with by as many processes as wrote it.

    Raises:
        CheckpointError: they are more or fewer; names both numbers.
    """
    saved = json.loads((checkpoint / COMPLETE).read_text("utf-8")).get("processes", processes)
    if saved == processes:
        return
    anew = "begin anew in another --output_dir"
    if list(checkpoint.glob("model*.safetensors")):
        anew += f", from its weights if you like: --model_name_or_path {checkpoint}"
    raise CheckpointError(
        f"{checkpoint} was written by {saved} processes, and now there are {processes}. Random numbers and "
        f"batches belong to one number of processes: go on with {saved}, or {anew}."
    )


def check_holds_state(checkpoint: Path) -> None:
    """Make sure that a checkpoint holds more than weights, so that training can go on from it.

    Raises:
        CheckpointError: it was written with `save_only_model`.
    """
    if list(checkpoint.glob("rng_state*.pth")):
        return
    raise CheckpointError(
        f"{checkpoint} holds weights only (--save_only_model), no state of the optimizer and the schedule: "
        "training can't go on from it. Begin anew from its weights in another --output_dir: "
        f"--model_name_or_path {checkpoint}."
    )
