"""What all benchmarks share: taking turns, medians, counted memory, and results as JSON and Markdown."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

RESULTS = Path(__file__).parent / "results"
RUNS = 7
SHARED = (
    "Processor time is that of this process on its threads; wall time is what a clock showed. Where the"
    " machine did other work at the same time (`shared`), only processor time compares."
)


def machine(threads: int) -> dict[str, Any]:
    """Name the machine and what else it is doing; sets torch's threads."""
    torch.set_num_threads(threads)
    names = Path("/proc/cpuinfo")
    lines = names.read_text("utf-8").splitlines() if names.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "threads": threads,
        "load_at_start": round(load, 1),
        "shared": load > 1.5,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


@dataclass(frozen=True)
class Times:
    """Medians over the runs of one side, in seconds, and the spread of processor time."""

    wall_s: float
    cpu_s: float
    cpu_least_s: float
    cpu_most_s: float
    runs: int

    @classmethod
    def of(cls, wall: Sequence[float], cpu: Sequence[float]) -> Times:
        """Summarise the runs."""
        return cls(statistics.median(wall), statistics.median(cpu), min(cpu), max(cpu), len(cpu))


def take_turns(
    sides: Mapping[str, Callable[[], Any]], *, runs: int = RUNS, warm_up: int = 1
) -> dict[str, Times]:
    """Run the sides in turn, in the same order each time, and summarise each."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(runs + warm_up):
        for name, function in sides.items():
            began, used = time.perf_counter(), time.process_time()
            function()
            if number >= warm_up:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
    return {name: Times.of(wall[name], cpu[name]) for name in sides}


class CountedMemory(TorchDispatchMode):
    """Counts the bytes of living tensors that were made under it; `peak` is the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._living: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, made)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._living:
            return
        self._living.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._living.discard(key)
        self.now -= size


def counted_peak(function: Callable[[], Any]) -> int:
    """Return the most bytes of tensors that lived at once while a function ran, but for those from before."""
    with CountedMemory() as memory:
        function()
    return memory.peak


def write(
    name: str,
    title: str,
    *,
    machine: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    notes: Sequence[str] = (),
) -> None:
    """Write results as JSON and as a Markdown table, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine, "rows": rows, "notes": list(notes)}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"# {title}", "", ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_shown(row.get(column, "")) for column in columns) + " |" for row in rows]
    lines += ["", SHARED, *(f"\n{note}" for note in notes)]
    text = "\n".join(lines) + "\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
