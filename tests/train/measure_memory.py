"""Run as a program: trains as a recipe says and prints the bytes that it took at most, measured.

    python measure_memory.py RECIPE.yaml

`allocator`: what torch's allocator gave out and took back between the first step and the last, as its profiler
recorded it, on top of the model's own storages. `resident`: growth of the process's resident memory from before
the model was built to its highest point in those steps.
"""

from __future__ import annotations

import ctypes
import io
import json
import sys
import threading
from pathlib import Path

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from mustela.config import resolve
from mustela.config.training import all_fields, build_arguments
from mustela.train import run_stages
from mustela.train import trainer as trainer_module


def resident() -> int:
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmRSS")


class Watch:
    """Looks at the resident memory every few milliseconds."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(0.003):
            self.peak = max(self.peak, resident())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def stored(model: torch.nn.Module) -> int:
    storages = {}
    for tensor in (*model.parameters(), *model.buffers()):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        state = getattr(tensor, "quant_state", None)
        for each in () if state is None else (state.absmax, state.code, state.state2 and state.state2.absmax):
            if isinstance(each, torch.Tensor):
                storages[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
    return sum(storages.values())


def highest(profiler: profile) -> int:
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def main(recipe: str) -> None:
    torch.set_num_threads(1)
    settings = resolve([recipe], all_fields())
    stages = build_arguments(settings)
    # Freed pages go back to the system, so that loading a model leaves no trace.
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    before = resident()
    whole = trainer_module.MustelaTrainer.training_step
    watch = Watch()
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    found: dict[str, int] = {}

    def step(trainer: trainer_module.MustelaTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if not found:
            found["weights"] = stored(trainer.model)
            trim(0)
            watch.start()
            profiler.start()
        made = whole(trainer, *args, **kwargs)
        if trainer.state.global_step == trainer.state.max_steps - 1:
            found["last"] = found.get("last", 0) + 1
        if found.get("last") == trainer.args.gradient_accumulation_steps:
            profiler.stop()
            watch.stop()
        return made

    trainer_module.MustelaTrainer.training_step = step
    run_stages(stages, from_scratch=settings.from_scratch, console=Console(file=io.StringIO()))
    peaks = {"allocator": found["weights"] + highest(profiler), "resident": watch.peak - before}
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(sys.argv[1])
