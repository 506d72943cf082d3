"""Checkpoints of `transformers.Trainer` made safe: complete or not there, of one format for all engines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils.fsdp_utils import load_fsdp_optimizer, save_fsdp_optimizer
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from mustela.config.training import TrainingArguments
from mustela.train.checkpoint import ASIDE, mark_complete, put_in_place, rotate
from mustela.train.disk import clear_write_errors
from mustela.train.setup import TrainerSetup
from mustela.train.trained import TRAINED_FILE, load_trained, read_trained, save_trained

_SCHEDULER = "scheduler.pt"


class CheckpointingTrainer(transformers.Trainer):
    """A trainer whose checkpoints count only when their mark is written, as the last file.

    Weights are whole in safetensors files, also where several processes hold a share of them each, so that a
    checkpoint loads in any number of processes. The state of a sharded optimizer is one file a process.
    """

    args: TrainingArguments

    def __init__(self, model: Any, *, setup: TrainerSetup, **kwargs: Any) -> None:
        self.setup = setup
        self._aside: Path | None = None
        super().__init__(model=model, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.args.output_dir) if self._aside is None else str(self._aside)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, mark and sync it, give it its name, and only then delete older ones."""
        root = Path(str(self.args.output_dir))
        name = f"checkpoint-{self.state.global_step}"
        self._aside = root / ASIDE
        if self.args.should_save:
            shutil.rmtree(self._aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        best = self.state.best_global_step
        if best:
            # The base class looks for it among what is written aside.
            self.state.best_model_checkpoint = str(root / f"checkpoint-{best}")
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with clear_write_errors(root / name, inside=root):
                super()._save_checkpoint(model, trial)
        finally:
            written, self._aside = self._aside / name, None
            self.args.save_total_limit = limit
        if best:
            self.state.best_model_checkpoint = str(root / f"checkpoint-{best}")
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            with clear_write_errors(root / name, inside=root):
                mark_complete(written, {"step": self.state.global_step, "processes": self.args.world_size})
                put_in_place(written, root / name)
                written.parent.rmdir()
            kept = self.state.best_model_checkpoint
            rotate(root, keep=limit, protect=Path(kept) if kept else None)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(str(output_dir or self.args.output_dir))
        if self.setup.trained_only and self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            module: Any = self.model
            save_trained(module, folder / TRAINED_FILE, state_dict=state_dict)
        else:
            super()._save(output_dir, state_dict)
        if self.args.should_save:
            # A pickle of the settings, which config.yaml of the run holds as text.
            (folder / "training_args.bin").unlink(missing_ok=True)
            self.setup.save_processor(folder)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write weights and processor; all processes call it."""
        if self.is_fsdp_enabled:
            self._save(output_dir, state_dict=self.accelerator.get_state_dict(self.model))
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir, use_dcp=False)
        if self.args.should_save:
            scheduler: Any = self.lr_scheduler
            torch.save(scheduler.state_dict(), folder / _SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        plugin = self.accelerator.state.fsdp_plugin
        load_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, checkpoint, use_dcp=False)
        scheduler: Any = self.lr_scheduler
        scheduler.load_state_dict(torch.load(Path(checkpoint) / _SCHEDULER, weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        trained = folder / TRAINED_FILE
        target: Any = self.model if model is None else model
        if self.is_fsdp_enabled:
            tensors: Any = read_trained(target, trained) if trained.is_file() else _read_weights(folder)
            set_model_state_dict(
                target, tensors, options=StateDictOptions(full_state_dict=True, strict=False)
            )
        elif trained.is_file():
            load_trained(target, trained)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint or ""
        if self.is_fsdp_enabled or (Path(best) / TRAINED_FILE).is_file():
            self._load_from_checkpoint(best)
        else:
            super()._load_best_model()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Report what a checkpoint lacks, except names of tied tensors, which are saved once."""
        model: Any = self.model
        tied = set(model.all_tied_weights_keys)
        load_result.missing_keys[:] = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result)


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a model's weights, in one file or several."""
    files = sorted(folder.glob("model*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}
