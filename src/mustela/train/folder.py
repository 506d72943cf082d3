"""The run folder: what lies where, which checkpoint is complete, and whether a run may go on in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mustela.errors import CheckpointError, ConfigError

COMPLETE = "complete.json"
CHECKPOINT_PREFIX = "checkpoint-"
# Where a checkpoint is written before it gets its name.
ASIDE = "unfinished"

# Settings that change how a run goes but not what comes out of it; an interrupted run may go on with others.
_FREE = (
    "data_cache_dir", "dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_num_workers",
    "dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "disable_tqdm",
    "dry_run", "eval_benchmark_root", "eval_benchmarks", "eval_data_path", "eval_image_folder",
    "eval_max_new_tokens", "eval_on_start", "eval_pictures",
    "eval_records", "eval_steps", "eval_strategy", "image_folder", "log_level", "log_level_replica",
    "logging_first_step", "logging_steps", "max_nonfinite_losses", "output_dir", "overwrite_output_dir",
    "per_device_eval_batch_size", "report_to", "resume_from_checkpoint", "run_name", "save_dtype",
    "save_steps", "save_strategy", "save_total_limit", "save_vision_tower", "use_cpu",
)  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run; the folder explains the run by itself."""

    root: Path

    @property
    def config(self) -> Path:
        """All settings, resolved."""
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, commit, hardware and seed, for every start of the run."""
        return self.root / "environment.json"

    @property
    def data_report(self) -> Path:
        """What was read, skipped and why."""
        return self.root / "data_report.json"

    @property
    def log(self) -> Path:
        """One JSON object a logging step."""
        return self.root / "log.jsonl"

    @property
    def final(self) -> Path:
        """The trained model with its processor."""
        return self.root / "final"

    @property
    def pictures(self) -> Path:
        """Pictures of predictions on held-out records."""
        return self.root / "pictures"

    def stage(self, number: int, name: str) -> Path:
        """Folder of a stage; that of a run of one stage (empty name) is the run folder itself."""
        return self.root / f"stage-{number}-{name}" if name else self.root

    @property
    def is_finished(self) -> bool:
        """True when the final model is there."""
        return is_complete(self.final)


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


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step: a reader sees the old file or the new one."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


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
    """Delete checkpoints that were not written to the end."""
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
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


def check_run(folder: RunFolder, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make sure that what a run folder holds belongs to the run that is asked for; changes nothing.

    Raises:
        ConfigError: the folder holds a run with other settings, or models of another origin.
    """
    if not _has_progress(folder):
        return
    if not folder.config.is_file():
        raise ConfigError(
            f"{folder.root} holds a model or checkpoints that are not of this run (there is no config.yaml). "
            "Take another --output_dir."
        )
    changed = differences(yaml.safe_load(folder.config.read_text("utf-8")), config)
    if changed and not overwrite:
        raise ConfigError(
            f"{folder.root} holds a run with other settings ({'; '.join(changed[:5])}). "
            "Take another --output_dir, or --overwrite_output_dir to delete that run and start over."
        )


def open_run(folder: RunFolder, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make the run folder and write the settings; deletes an earlier run if it is to be overwritten."""
    if folder.config.is_file() and (overwrite or not _has_progress(folder)):
        _delete_run(folder)
    folder.root.mkdir(parents=True, exist_ok=True)
    write_text(folder.config, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def _has_progress(folder: RunFolder) -> bool:
    stages = list(folder.root.glob("stage-*"))
    return folder.final.exists() or any(
        checkpoints(path) or (path / "final").exists() for path in [folder.root, *stages]
    )


def differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """Describe what differs between two resolved configurations, in what a result depends on."""
    changed = []
    before, after = _flatten(old or {}), _flatten(new)
    for key in sorted(before.keys() | after.keys()):
        if key.rsplit(".", 1)[-1] not in _FREE and before.get(key) != after.get(key):
            changed.append(f"{key}: {before.get(key)!r} there, {after.get(key)!r} now")
    return changed


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return {prefix: value}
    return {
        name: leaf
        for key, item in items
        for name, leaf in _flatten(item, f"{prefix}.{key}" if prefix else key).items()
    }


def _delete_run(folder: RunFolder) -> None:
    for path in folder.root.iterdir():
        ours = path.name in (ASIDE, "final", "pictures", "tensorboard", "evaluation") or path.name.startswith(
            (CHECKPOINT_PREFIX, "stage-")
        )
        if path.is_dir() and ours:
            shutil.rmtree(path)
        elif path.name in (
            "config.yaml", "environment.json", "data_report.json", "log.jsonl", "metrics.json",
            "report.html", "predictions.jsonl", "mm_projector.safetensors", "pissa.safetensors",
        ):  # fmt: skip
            path.unlink()


def append_json(path: Path, content: Mapping[str, Any]) -> None:
    """Append one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(content, ensure_ascii=False) + "\n")


def trim_log(path: Path, *, stage: str, after_step: int) -> None:
    """Drop the lines of a stage behind a step and all later ones: an interrupted run does them again."""
    if not path.is_file():
        return
    kept: list[str] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("stage") == stage and entry.get("step", 0) > after_step:
            break
        kept.append(line)
    write_text(path, "".join(f"{line}\n" for line in kept))


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
