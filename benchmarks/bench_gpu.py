"""What a GPU reaches in a training step: the share of its matrix rate, and the time of each part.

    python benchmarks/bench_gpu.py
    python benchmarks/bench_gpu.py --device cpu --sizes tiny      # tries the script out, records nothing

Records are generated, of about 700 tokens, 576 of them the picture's; the models are those of
`gpu_models.py`, of random numbers. All else is as in a training with `--bf16 True`: autocast, AdamW (fused),
clipped gradients, samples prepared by workers. FlashAttention and Liger's kernels are used where installed.

Model FLOP utilisation is the operations that the model needs (`step_flops.py`) by the time of a step and by
the rate that a product of two large matrices reached on the same card before. The time by part
(`step_timeline.py`) is from other steps, as marking parts takes time too.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from data_records import SIZE_WH, records
from gpu_models import SIZES, WAYS, Size, bytes_needed, make, packages, prepare
from measuring import RUNS, machine, write
from PIL import Image
from step_flops import PARTS, matrix_rate, step_work
from step_timeline import Clock, marked
from torch.utils.data import DataLoader

from mustela.data.collator import Collator
from mustela.data.native import record_from_native
from mustela.data.processor import MustelaProcessor
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.model import MustelaForConditionalGeneration
from mustela.regions import load_image

# What activations and copies in half precision take at the least; a run that needs more says so itself.
ROOM = 6e9
Batch = dict[str, torch.Tensor]


class Steps:
    """Training steps of a model on batches that a loader prepares."""

    def __init__(
        self, model: MustelaForConditionalGeneration, processor: MustelaProcessor, *, batch: int, workers: int
    ) -> None:
        self.model = model
        self.device = model.device
        content = Encoded(processor, batch * 8)
        self.batches = _forever(
            DataLoader(
                content,
                batch,
                num_workers=workers,
                collate_fn=Collator(processor.pad_token_id),
                pin_memory=self.device.type == "cuda",
                persistent_workers=workers > 0,
            )
        )
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.learning = learning
        self.optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=self.device.type == "cuda")
        self.last: Batch = {}

    def run(self, clock: Clock | None = None) -> None:
        """Take one step, with its parts marked on a clock if there is one."""
        if clock is not None:
            clock.mark("data")
        batch = next(self.batches)
        batch.pop("record", None)
        self.last = {name: each.to(self.device, non_blocking=True) for name, each in batch.items()}
        if clock is not None:
            clock.mark("rest")
        with nullcontext() if clock is None else marked(self.model, clock):
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = self.model(**self.last).loss
            loss.backward()
        if clock is not None:
            clock.mark("optimizer")
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Encoded(torch.utils.data.Dataset[Batch]):
    """Samples that are made when asked for, from records and encoded pictures in memory."""

    def __init__(self, processor: MustelaProcessor, count: int) -> None:
        self.processor = processor
        self.records = [record_from_native(content) for content in records(count)]
        noise = np.random.default_rng(0)
        self.pictures = []
        for _ in self.records:
            file = io.BytesIO()
            coarse = Image.fromarray(noise.integers(0, 256, (30, 40, 3), dtype=np.uint8))
            coarse.resize(SIZE_WH, Image.Resampling.BICUBIC).save(file, "JPEG")
            self.pictures.append(file.getvalue())

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Batch:
        rng, options = sample_rng(0, 0, index), RenderOptions(box_input="box")
        rendered = render(self.records[index], options, sizes_wh=[SIZE_WH], rng=rng)
        return self.processor.encode(rendered, [load_image(self.pictures[index])], rng=rng)


def _forever(loader: DataLoader[Batch]) -> Iterator[Batch]:
    while True:
        yield from loader


def measure(steps: Steps, *, rate: float, runs: int) -> dict[str, Any]:
    """Take steps, whole ones first and marked ones behind them, and return a row of figures."""
    for _ in range(3):
        steps.run()
    on_gpu = steps.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds, operations, tokens = [], [], []
    for _ in range(runs):
        steps.synchronise()
        began = time.perf_counter()
        steps.run()
        steps.synchronise()
        seconds.append(time.perf_counter() - began)
        operations.append(sum(work.total for work in step_work(steps.model, steps.last).values()))
        tokens.append(steps.last["input_ids"].numel())
    parts: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        clock = Clock(steps.device)
        steps.run(clock)
        for part, taken in clock.spans().items():
            parts[part].append(taken)
    work = step_work(steps.model, steps.last)
    reached = [count / taken for count, taken in zip(operations, seconds, strict=True)]
    return {
        "weights": sum(parameter.numel() for parameter in steps.model.parameters()),
        "learning": sum(parameter.numel() for parameter in steps.learning),
        "batch": len(steps.last["input_ids"]),
        "tokens": statistics.median(tokens),
        "teraflop": statistics.median(operations) / 1e12,
        "step_s": statistics.median(seconds),
        "tokens_per_s": statistics.median(tokens) / statistics.median(seconds),
        "teraflops": statistics.median(reached) / 1e12,
        "utilisation": statistics.median(reached) / rate,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None,
        **{f"{part}_s": statistics.median(parts[part]) for part in (*PARTS, "optimizer", "data", "rest")},
        "teraflop_by_part": {part: asdict(work[part]) for part in PARTS},
        "runs": runs,
    }


def card() -> dict[str, Any]:
    """Name the GPU and its driver."""
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_memory_gb": round(properties.total_memory / 1e9),
        "driver": driver[0] if driver else "unknown",
        "cuda": torch.version.cuda,
    }


def main() -> None:
    """Measure and write, or say in one line that there is no GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=["1b", "7b"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--batch", type=int, default=None, help="samples in a batch in place of the size's")
    parser.add_argument("--workers", type=int, default=None, help="of the data; 4, on a CPU 0")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    on_gpu = arguments.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("bench_gpu: left out, as there is no CUDA GPU here.")
        return
    device, found = torch.device(arguments.device), packages() if on_gpu else dict.fromkeys(packages(), False)
    where = machine(torch.get_num_threads()) | (card() if on_gpu else {}) | found
    side, dtype = (8192, torch.bfloat16) if on_gpu else (256, torch.float32)
    rate = matrix_rate(device, side=side, dtype=dtype, runs=arguments.runs)
    where |= {"matrix_teraflops": rate / 1e12, "matrix": f"{side} x {side}, {dtype}".replace("torch.", "")}
    rows, notes = [], []
    for name in arguments.sizes:
        for way in arguments.ways:
            row = {"model": name, "way": way}
            needed = bytes_needed(SIZES[name], way) + ROOM
            if on_gpu and needed > torch.cuda.mem_get_info()[0]:
                notes.append(f"{name} {way}: left out, as it takes {needed / 1e9:.0f} GB at the least.")
                continue
            try:
                rows.append(row | _case(SIZES[name], way, device, found, rate, arguments))
            except torch.OutOfMemoryError:
                notes.append(f"{name} {way}: left out, as it doesn't fit; give a smaller --batch.")
            gc.collect()
            if on_gpu:
                torch.cuda.empty_cache()
    notes.append(
        "teraflop: operations that the model needs in a step, without what checkpointing computes again."
        " utilisation: teraflops by matrix_teraflops. The time of each part (forward and backward) is from"
        " steps of its own, with marks."
    )
    if on_gpu:
        write("gpu", "A training step on a GPU", machine=where, rows=rows, notes=notes)
    else:
        print(json.dumps({"machine": where, "rows": rows, "notes": notes}, indent=1))


def _case(
    size: Size,
    way: str,
    device: torch.device,
    found: dict[str, bool],
    rate: float,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    torch.manual_seed(0)
    with torch.device(device):
        model, processor = make(size, way)
    model.to(device)
    prepare(model, size, found)
    workers = arguments.workers if arguments.workers is not None else 4 * (device.type == "cuda")
    steps = Steps(model, processor, batch=arguments.batch or size.batch, workers=workers)
    return measure(steps, rate=rate, runs=arguments.runs)


if __name__ == "__main__":
    main()
