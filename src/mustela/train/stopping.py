"""Stopping on SIGTERM and SIGINT: one checkpoint, then the end; a second signal ends at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from transformers import TrainerCallback

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# A signal to the whole group reaches a loader's workers too, which must give samples until the checkpoint is
# there; one that the loader wants to end must end nevertheless.
_WORKER_SECONDS = 30

# A scheduler and a launcher may hand on one signal each: those that come together are one.
_TOGETHER_SECONDS = 1.0


class StoppedError(Exception):
    """The training was asked to stop and left a checkpoint.

    Args:
        number: of the signal.
        step: of the checkpoint.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} at step {step}")
        self.number = number
        self.step = step


class StopRequest(TrainerCallback):
    """Asks the trainer for a checkpoint and the end, behind the step in which a signal came.

    Args:
        agree: makes one number of those of all processes, the largest; signals reach them at different steps.
        tell: told once, in the process that got the signal.
    """

    def __init__(self, *, agree: Callable[[int], int], tell: Callable[[str], None]) -> None:
        self.agree = agree
        self.tell = tell
        self.number = 0
        self._since = 0.0
        self.agreed = 0
        self._process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals as requests meanwhile; where that isn't the main thread's call, leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number and time.monotonic() - self._since < _TOGETHER_SECONDS:
            return
        if self.number or os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            self.number = number
            self._since = time.monotonic()
            self.tell(
                f"{signal.Signals(number).name}: saving a checkpoint after this step, then stopping. "
                "Once more stops at once, without one."
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint and the end if any process got a signal."""
        self.agreed = self.agree(self.number)
        if self.agreed:
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True

    def raise_if_stopped(self, *, step: int, last: int) -> None:
        """Raise StoppedError if the training ended early because of a signal."""
        if self.agreed and step < last:
            raise StoppedError(self.agreed, step)


@dataclass(frozen=True)
class WorkerStart:
    """What a loader's worker does first: live through the first signal, then what it did anyway.

    Args:
        then: called with the worker's number, or None.
    """

    then: Callable[[int], None] | None

    def __call__(self, worker: int) -> None:
        """Set the worker's handlers."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_later)
        if self.then is not None:
            self.then(worker)


def _end_later(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_DFL)
    signal.alarm(_WORKER_SECONDS)
