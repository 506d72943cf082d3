"""The run folder: what lies where, and whether a run may go on in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mustela.errors import ConfigError
from mustela.train.checkpoint import ASIDE, CHECKPOINT_PREFIX, checkpoints, is_complete
from mustela.train.files import write_text

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
