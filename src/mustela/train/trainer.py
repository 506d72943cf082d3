"""The training loop of `transformers`, with our samples, learning rates, logs and checkpoints."""

from __future__ import annotations

import pickle
import random
import time
import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import DistributedType, PartialState
from accelerate.data_loader import DataLoaderAdapter
from accelerate.utils import DynamoBackend
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler
from transformers.integrations.deepspeed import set_hf_deepspeed_config
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mustela.config.training import TrainingArguments
from mustela.errors import CheckpointError
from mustela.train.checkpointing import CheckpointingTrainer
from mustela.train.finite import LossGuard
from mustela.train.freezing import keep_new_rows
from mustela.train.groups import parameter_groups
from mustela.train.kernels import use_liger_kernels, wants_liger
from mustela.train.muon import MuonAdamW, hidden_matrices
from mustela.train.setup import TrainerSetup
from mustela.train.stopping import StopRequest, WorkerStart
from mustela.train.time_limit import TimeLimit


class MustelaTrainer(CheckpointingTrainer):
    """`transformers.Trainer` with a fixed order of samples, rates per part, and checkpoints that are safe.

    No file of a checkpoint is a pickle that could run code, but for the state that DeepSpeed writes.
    """

    def __init__(self, model: Any, *, setup: TrainerSetup, **kwargs: Any) -> None:
        use_cache = model.config.to_dict().get("use_cache")
        super().__init__(model, setup=setup, **kwargs)
        # The base class writes its own setting into the configuration, where it would slow down generation.
        if use_cache is None:
            del model.config.use_cache
        else:
            model.config.use_cache = use_cache
        if wants_liger(self.args):
            use_liger_kernels(model, self.args.liger_kernel_config)
        # The base class would look for kernels of the whole model, and have their head instead of ours.
        self.args.use_liger_kernel = False
        if self.args.torch_compile:
            # In place, so that names of weights stay; lengths differ from batch to batch.
            model.base.model.language_model.compile(
                backend=self.args.torch_compile_backend, mode=self.args.torch_compile_mode, dynamic=True
            )
        # The model smooths: the Trainer's own way neither shifts labels nor knows their weights.
        self.label_smoother = None
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self._samples = 0
        self._tokens: Tensor | int = 0
        self._since = time.monotonic()
        self._guard = LossGuard(
            allowed=self.args.max_nonfinite_losses,
            record_ids=setup.record_ids,
            total=lambda number: self._of_all(number, "sum"),
            tell=setup.tell,
        )
        self._stop = StopRequest(agree=lambda number: self._of_all(number, "max"), tell=setup.tell)
        self.add_callback(self._guard)
        self.add_callback(self._stop)
        self._limit: TimeLimit | None = None
        if self.args.max_minutes is not None:
            self._limit = TimeLimit(self.args.max_minutes, agree=lambda number: self._of_all(number, "max"))
            self.add_callback(self._limit)

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, which shards over processors as well, though it offers that for GPUs only."""
        if self.args.deepspeed:
            _start_deepspeed(self.args)
        if self.args.shares_out and PartialState().distributed_type == DistributedType.MULTI_CPU:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        super().create_accelerator_and_postprocess()
        if self.args.torch_compile:
            # It would compile the whole model, which looks at numbers to place pictures and regions.
            self.accelerator.state.dynamo_plugin.backend = DynamoBackend.NO

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        model: Any = self.model
        for name, parameter in model.named_parameters() if self.is_fsdp_enabled else ():
            if name in self.setup.new_rows:
                # Sharding made another parameter, without the hook of the first.
                keep_new_rows(parameter, self.setup.new_rows[name])
        return prepared

    def _of_all(self, number: int, reduction: str) -> int:
        """Make one number of those of all processes: their sum or the largest."""
        if self.args.world_size == 1:
            return number
        numbers = self.accelerator.gather(torch.tensor([number], device=self.args.device))
        return int(numbers.sum() if reduction == "sum" else numbers.max())

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.setup.sampler

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Make the loader, which draws its workers' seeds from numbers of its own and outlives a signal.

        Otherwise dropout would depend on how often a loader starts: once in an epoch, or once for all with
        persistent workers.
        """
        loader: DataLoader[Any] = super().get_train_dataloader()
        generator = torch.Generator().manual_seed(self.args.seed)
        start = WorkerStart(loader.worker_init_fn)
        inner = [loader.base_dataloader] if isinstance(loader, DataLoaderAdapter) else []
        for each in (loader, *inner):
            each.generator = generator
            each.worker_init_fn = start
        return loader

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the optimizer with our parameter groups."""
        if self.optimizer is None:
            target: Any = self.model if model is None else model
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, target)
            if {"params", "model", "optimizer_dict"} & options.keys():
                # Optimizers that choose their own groups.
                return super().create_optimizer(model)
            groups = parameter_groups(
                target,
                self.args,
                parts=self.setup.parts,
                decayed=set(self.get_decay_parameter_names(target)),
                undecayed=self.setup.undecayed,
            )
            if self.args.muon:
                self.optimizer = MuonAdamW(
                    groups,
                    matrices=hidden_matrices(target),
                    betas=(self.args.adam_beta1, self.args.adam_beta2),
                    eps=self.args.adam_epsilon,
                )
            else:
                self.optimizer = optimizer_class(groups, **options)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LRScheduler:
        """Make the schedule of the learning rate, which follows the clock where there is a limit of time."""
        is_new = self.lr_scheduler is None
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if is_new and self._limit is not None:
            self._limit.hasten(scheduler, num_training_steps)
        return scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: the estimate walks over all parameters at every step and suits text-only models."""
        return 0

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Run one forward and backward pass, counting samples and tokens and looking at the loss."""
        records = inputs.get("record")
        # A row may hold several.
        self._samples += len(inputs["input_ids"] if records is None else records)
        self._tokens = self._tokens + inputs["attention_mask"].sum()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._guard.look(loss, records)
        return loss

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        here = self.setup.normaliser(super()._prepare_inputs(inputs))
        # Again, as DeepSpeed takes numbers in its own precision.
        return super()._prepare_inputs(here)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss; the model isn't told which records it sees."""
        inputs = {name: value for name, value in inputs.items() if name != "record"}
        if self.setup.features is not None:
            with self.accelerator.autocast():
                inputs = self.setup.features(inputs)
        if model.training and self.args.label_smoothing_factor:
            inputs["label_smoothing"] = self.args.label_smoothing_factor
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the samples and tokens a second since the last log of a training step."""
        if "loss" in logs:
            now = time.monotonic()
            seconds = max(now - self._since, 1e-9) / self.args.world_size
            logs["samples_per_second"] = round(self._samples / seconds, 3)
            logs["tokens_per_second"] = round(float(self._tokens) / seconds, 1)
            self._samples, self._tokens, self._since = 0, 0, now
            for group in self.optimizer.param_groups if self.optimizer is not None else ():
                part = group.get("name", "").partition(",")[0]
                if part not in ("", "model"):
                    logs[f"learning_rate_{part}"] = group["lr"]
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure the loss on held-out records, if there are any, then let `examine` ask the model.

        Neither takes from the random numbers of the training.
        """
        with _random_numbers_kept():
            metrics: dict[str, float] = {}
            if isinstance(self.eval_dataset, Sized) and len(self.eval_dataset):
                metrics = super().evaluate(*args, **kwargs)
            else:
                self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            if self.setup.examine is not None:
                model = self.accelerator.unwrap_model(self.model)
                model.eval()
                # Weights under adapters may be of half precision while the adapters are not.
                is_mixed = len({p.dtype for p in model.parameters() if p.is_floating_point()}) > 1
                # Each new token of an answer would be another shape to compile.
                plain = torch.compiler.set_stance("force_eager") if self.args.torch_compile else nullcontext()
                with plain, self.accelerator.autocast() if is_mixed else nullcontext():
                    found = self.setup.examine(model, self.state.global_step)
                answers = {f"eval_{name}": float(value) for name, value in found.items()}
                self.log(dict(answers))
                metrics.update(answers)
        return metrics

    def train_from(self, checkpoint: Path | None) -> float:
        """Train, from a checkpoint if one is given; returns the mean training loss of this call.

        Raises:
            CheckpointError: a file of the checkpoint holds more than tensors and plain values.
            TrainingError: too many losses were not finite.
            StoppedError: a signal ended the training, behind a checkpoint.
        """
        self._since = time.monotonic()
        try:
            with self._stop.listening(), warnings.catch_warnings():
                # Of the logits, which nothing changes in place.
                warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view")
                # Of small convolutions in DDP: a hint about speed.
                warnings.filterwarnings("ignore", message=r"Grad strides do not match bucket view strides")
                result = self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{checkpoint}: its optimizer or random state holds Python objects besides tensors and "
                f"was not loaded, because loading those can run code. Was it made by this run? ({error})"
            ) from error
        self._stop.raise_if_stopped(step=self.state.global_step, last=self.state.max_steps)
        return float(result.training_loss)


def _start_deepspeed(args: TrainingArguments) -> None:
    """Let DeepSpeed use the processes' own way to talk, which it would choose wrong without a GPU."""
    import deepspeed

    set_hf_deepspeed_config(args.hf_deepspeed_config)
    backend = torch.distributed.get_backend()
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Put the global generators back afterwards, so that measuring does not change the training."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
