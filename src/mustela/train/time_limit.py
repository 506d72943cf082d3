"""A limit of time: the training ends in time, with the learning rate where its schedule ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from mustela.errors import ConfigError


class TimeLimit(TrainerCallback, ExportableState):
    """Ends the training behind the step in which the time is up.

    Checkpoints hold the time that was used, so that an interrupted training has as long as one that wasn't.

    Args:
        minutes: how long the training may take, with its evaluations and without saving the model.
        agree: makes one number of those of all processes, the largest, as their clocks differ.
    """

    def __init__(self, minutes: float, *, agree: Callable[[int], int]) -> None:
        self.seconds = minutes * 60
        self.agree = agree
        self.share = 0.0
        self._used = 0.0
        self._started = time.monotonic()

    def used(self) -> float:
        """Return the seconds since the training began, without those between interruptions."""
        return self._used + time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """Return what checkpoints hold."""
        return {"args": {}, "attributes": {"seconds": self.used()}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock, from where a checkpoint left it."""
        kept = state.stateful_callbacks.get(type(self).__name__, {})
        self._used = float(kept.get("attributes", {}).get("seconds", 0.0))
        self._started = time.monotonic()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the clock, before the schedule of the learning rate does."""
        milliseconds = self.agree(round(self.used() * 1000))
        self.share = min(milliseconds / 1000 / self.seconds, 1.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for the end where the time is up, with what belongs to the last step of any training."""
        if self.share >= 1:
            control.should_training_stop = control.should_log = True
            control.should_evaluate |= args.eval_strategy == "steps"
            control.should_save |= args.save_strategy == "steps"

    def hasten(self, scheduler: LRScheduler, steps: int) -> None:
        """Let a schedule of so many steps follow the clock where the clock is ahead of the steps.

        Raises:
            ConfigError: the schedule isn't a function of the step alone.
        """
        if not isinstance(scheduler, LambdaLR):
            raise ConfigError(
                f"max_minutes does not go with the schedule {type(scheduler).__name__}: choose another"
                " --lr_scheduler_type, such as cosine."
            )
        scheduler.lr_lambdas = [self._hastened(factor, steps) for factor in scheduler.lr_lambdas]

    def _hastened(self, factor: Callable[[int], float], steps: int) -> Callable[[int], float]:
        # A plain function: a schedule writes the attributes of any other callable into checkpoints.
        def hastened(step: int) -> float:
            return factor(max(step, round(self.share * steps)))

        return hastened
