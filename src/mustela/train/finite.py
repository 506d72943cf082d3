"""Losses that are not finite: told with the records that gave them, kept out of the weights, and limited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from mustela.errors import TrainingError

_NAMED = 16


class LossGuard(TrainerCallback):
    """Leaves out steps whose loss is not finite, and stops the training when there were too many.

    Args:
        allowed: losses that may be left out in all.
        record_ids: ids of records by position in the training set.
        total: makes one number of those of all processes, the sum.
        tell: told of every step that is left out.
    """

    def __init__(
        self,
        *,
        allowed: int,
        record_ids: Callable[[Sequence[int]], list[str]],
        total: Callable[[int], int],
        tell: Callable[[str], None],
    ) -> None:
        self.allowed = allowed
        self.record_ids = record_ids
        self.total = total
        self.tell = tell
        self.seen = 0
        self._positions: list[int] = []
        self._losses = 0

    def look(self, loss: Tensor, records: Tensor | None) -> None:
        """Look at the loss of a batch of records, given by their positions."""
        if not bool(torch.isfinite(loss).all()):
            self._losses += 1
            self._positions += [] if records is None else records.tolist()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave out a step to which such a loss belongs, in all processes.

        Raises:
            TrainingError: there were too many; names this process's records of the step.
        """
        losses = self.total(self._losses)
        if not losses:
            return
        self.seen += losses
        records = self._described()
        self._positions, self._losses = [], 0
        step = state.global_step + 1
        if self.seen > self.allowed:
            raise TrainingError(
                f"The loss of step {step} is not finite, {records}. Look at these records, lower "
                "--learning_rate, or train with --bf16 instead of --fp16. "
                f"--max_nonfinite_losses {max(10, 2 * self.seen)} leaves such steps out."
            )
        self.tell(f"Left out step {step}: its loss is not finite, {records} ({self.seen} so far).")
        kwargs["optimizer"].zero_grad()

    def _described(self) -> str:
        if not self._positions:
            return "in another process"
        ids = self.record_ids(self._positions)
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        return "in a batch of the records " + ", ".join(f'"{name}"' for name in ids[:_NAMED]) + more
