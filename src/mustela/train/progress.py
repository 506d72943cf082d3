"""What a run tells while it goes: a progress bar on a terminal, plain lines elsewhere, and log.jsonl."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

from mustela.train.files import append_json

_SECONDS_BETWEEN_LINES = 30.0


class LogFile(TrainerCallback):
    """Appends every log of the main process to `log.jsonl`, with stage, step and time.

    Args:
        path: of the file.
        stage: name of the stage.
        epochs: write the epoch; False where it isn't known how long one is.
    """

    def __init__(self, path: Path, *, stage: str, epochs: bool = True) -> None:
        self.path = path
        self.stage = stage
        self.left_out = {"total_flos"} if epochs else {"total_flos", "epoch"}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write one line."""
        if state.is_world_process_zero and logs:
            numbers = {name: value for name, value in logs.items() if name not in self.left_out}
            append_json(
                self.path,
                {"stage": self.stage, "step": state.global_step, "time": round(time.time(), 3), **numbers},
            )


class ProgressBar(TrainerCallback):
    """Shows loss, learning rate, speed and the time left, on the main process.

    Args:
        console: where to write; a terminal gets a bar, anything else a line every half minute.
        stage: name of the stage, in front.
    """

    def __init__(self, console: Console, *, stage: str) -> None:
        self.console = console
        self.stage = stage
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self.text = ""
        self.started = 0.0
        self.first_step = 0
        self.last_line = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the bar."""
        if not state.is_world_process_zero:
            return
        self.started = self.last_line = time.monotonic()
        self.first_step = state.global_step
        if not self.console.is_terminal:
            return
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.progress.add_task(
            self.stage or "train", total=state.max_steps, completed=state.global_step, numbers=""
        )
        self.progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the numbers of a log."""
        if not state.is_world_process_zero or not logs:
            return
        if any(name.startswith("eval_") for name in logs):
            shown = [
                f"{name.removeprefix('eval_')} {value:.4g}"
                for name, value in logs.items()
                if name.startswith("eval_") and not name.endswith(("runtime", "per_second"))
            ]
            self._say(f"step {state.global_step}: held out: " + ", ".join(shown))
        if "loss" not in logs:
            return
        self.text = (
            f"loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2g}  "
            f"{logs.get('samples_per_second', 0):.1f} samples/s  "
            f"{logs.get('tokens_per_second', 0):.0f} tokens/s"
        )
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, numbers=self.text)
        elif time.monotonic() - self.last_line >= _SECONDS_BETWEEN_LINES or control.should_training_stop:
            self.last_line = time.monotonic()
            self._say(f"step {state.global_step}/{state.max_steps}  {self.text}  {self._left(args, state)}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the bar."""
        self.close()

    def close(self) -> None:
        """Give the terminal back, also after an error."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _say(self, text: str) -> None:
        prefix = f"{self.stage}: " if self.stage else ""
        self.console.print(prefix + text, markup=False, highlight=False, soft_wrap=True)

    def _left(self, args: Any, state: Any) -> str:
        done = state.global_step - self.first_step
        if done <= 0:
            return ""
        elapsed = time.monotonic() - self.started
        seconds = elapsed / done * (state.max_steps - state.global_step)
        if args.max_minutes is not None:
            seconds = max(min(seconds, args.max_minutes * 60 - elapsed), 0)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
