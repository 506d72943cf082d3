"""Run as a program: trains as recipes say and prints for each the bytes that it took at most, measured.

    python measured_memory.py RECIPE.yaml ...

What is measured is what torch's allocator gave out and took back from the first step to the last, as torch's
profiler records it, on top of the storages of the model.
"""

from __future__ import annotations

import io
import json
import sys

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from mustela.config import resolve
from mustela.config.training import all_fields, build_arguments
from mustela.train import run_stages
from mustela.train.trainer import MustelaTrainer


def stored(model: torch.nn.Module) -> int:
    """Count the bytes of a model's weights, with the constants of quantised ones."""
    tensors = [*model.parameters(), *model.buffers()]
    for parameter in model.parameters():
        if type(parameter).__name__ == "Params4bit":
            state = parameter.quant_state
            tensors += [state.absmax, *([state.state2.absmax] if state.nested else [])]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def highest(profiler: profile) -> int:
    """Add up what was given out and taken back, in order, and return the highest sum."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def measured(recipe: str) -> int:
    settings = resolve([recipe], all_fields())
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    weights: list[int] = []
    whole = MustelaTrainer.training_step
    calls = 0

    def step(trainer: MustelaTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        nonlocal calls
        if not calls:
            weights.append(stored(trainer.model))
            profiler.start()
        made = whole(trainer, *args, **kwargs)
        calls += 1
        if calls == trainer.args.max_steps * trainer.args.gradient_accumulation_steps:
            profiler.stop()
        return made

    MustelaTrainer.training_step = step
    try:
        run_stages(build_arguments(settings), console=Console(file=io.StringIO()))
    finally:
        MustelaTrainer.training_step = whole
    return weights[0] + highest(profiler)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([measured(recipe) for recipe in sys.argv[1:]]))
