"""A data set of GRIT's size: time to the first batch, memory of all processes, and records a second.

    python benchmarks/data.py --records 1100000 --work /tmp/mustela-data --page docs/about/data_size.md

Generates a Ferret JSON file, opens it twice in fresh processes with four workers, walks over a whole epoch
with them, and times each step from record to batch beside a reference written the obvious way. Linux: memory
comes from /proc. The page names the machine; on one that does other things too, add --shared to say so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from data_page import page
from data_records import PICTURES, SEED, SIZE_WH, WORDS, masked_records, records
from data_reference import Reference
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import LlavaProcessor, SiglipImageProcessorPil

from mustela.config import DataArguments
from mustela.constants import IMAGE_PLACEHOLDER
from mustela.data.check import CheckOptions
from mustela.data.collator import Collator
from mustela.data.dataset import RecordDataset, read_images
from mustela.data.processor import MustelaProcessor, ProcessorSettings
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.data.resizing import ResizeWith
from mustela.data.templates import get_template
from mustela.model.tokens import train_tokenizer
from mustela.regions import load_image
from mustela.train.order import EpochSampler
from mustela.train.records import Files, open_files

SIDE, POINTS = 336, 512
WORKERS, BATCH, TIMED = 4, 32, 400
MEGABYTE = 1e6


def generate(work: Path, count: int) -> Path:
    """Write the pictures and the file of records, unless they are there."""
    pictures = work / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    path = work / f"records-{count}.json"
    if path.exists():
        return path
    noise = np.random.default_rng(SEED)
    for number in range(PICTURES):
        coarse = noise.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE_WH, Image.Resampling.BICUBIC).save(pictures / f"{number:05}.jpg")
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8") as file:
        for number, record in enumerate(records(count)):
            file.write(("[\n" if number == 0 else ",\n") + json.dumps(record))
        file.write("\n]\n")
    unfinished.replace(path)
    return path


def make_processor(*, image_resize: ResizeWith = "pillow") -> MustelaProcessor:
    """Make a training's processor of a classic composition: 336 pixels, 24 x 24 image tokens, 512 points."""
    texts = [" ".join(WORDS) + " What is [1, 23, 456, 789]? USER: ASSISTANT:"] * 20
    control = [IMAGE_PLACEHOLDER, "<region_fea>"]
    tokenizer = train_tokenizer(texts, vocab_size=1000, control_tokens=control, end_token="</s>")
    base = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(do_resize=False, size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token=IMAGE_PLACEHOLDER,
        num_additional_image_tokens=1,
    )
    settings = ProcessorSettings(
        region_points=POINTS,
        image_aspect_ratio="square_nocrop",
        resized_image_wh=(SIDE, SIDE),
        image_resize=image_resize,
    )
    return MustelaProcessor(base, get_template("compact", tokenizer=tokenizer), settings, as_bytes=True)


class Rendered(Dataset[int]):
    """Every record of a source read and rendered, without its picture: the way of an epoch for memory."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> int:
        record, _ = self.source[index]
        rng = sample_rng(SEED, 0, index)
        render(record, RenderOptions(), sizes_wh=[SIZE_WH], rng=rng)
        return index


def worker_memory() -> list[dict[str, float]]:
    """Return, for each child of this process, its private memory in MB, and the part that is no file's."""
    found = []
    for child in psutil.Process().children():
        rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text("ascii")
        fields = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
        clean, dirty = float(fields["Private_Clean"]), float(fields["Private_Dirty"])
        found.append({"uss": (clean + dirty) * 1024 / MEGABYTE, "dirty": dirty * 1024 / MEGABYTE})
    return found


def largest(memory: list[dict[str, float]], key: str) -> float:
    """Return the largest of the workers' figures."""
    return max(entry[key] for entry in memory)


def open_data(path: Path, work: Path) -> Files:
    """Open the records as training does, with its defaults."""
    return open_files(
        [str(path)],
        [str(work / "images")],
        multiples=[],
        options=CheckOptions(images=DataArguments().check_images),
        on_bad_record="error",
        cache_dir=str(work / "cache"),
        seed=SEED,
    )


def start(path: Path, work: Path, *, walk: bool) -> dict[str, Any]:
    """Open the file, take a first batch, and `walk` over an epoch; in a fresh process."""
    began = time.monotonic()
    files = open_data(path, work)
    processor = make_processor()
    dataset = RecordDataset(files.source, processor, options=RenderOptions(), seed=SEED)
    sampler = EpochSampler(len(dataset), seed=SEED)
    collator = Collator(processor.pad_token_id)
    batches = iter(DataLoader(dataset, BATCH, sampler=sampler, num_workers=WORKERS, collate_fn=collator))
    next(batches)
    result: dict[str, Any] = {"first_batch_s": time.monotonic() - began, "records": len(dataset)}
    result["first_batch_cpu_s"] = time.process_time()
    for _ in range(20):
        next(batches)
    result["worker_samples_mb"] = largest(worker_memory(), "uss")
    del batches
    if walk:
        # One record of a batch in every place, each index once.
        loader = DataLoader(Rendered(files.source), 256, sampler=sampler, num_workers=WORKERS)
        every, seen = len(loader) // 10, 0
        memory = []
        began = time.monotonic()
        for number, batch in enumerate(loader):
            seen += len(batch)
            if number % every == every - 1:
                memory.append(worker_memory())
        result["epoch_records_s"] = seen / (time.monotonic() - began)
        result["epoch_seen"] = seen
        for key in ("uss", "dirty"):
            result[f"worker_epoch_{key}_mb"] = [largest(entry, key) for entry in memory]
    status = Path("/proc/self/status").read_text("ascii")
    result["main_peak_mb"] = (
        next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        * 1024
        / MEGABYTE
    )
    return result


def timed(function: Callable[[int], Any], count: int = TIMED) -> float:
    """Return calls a second of processor time, which other work disturbs least: the median of seven parts."""
    for index in range(5):
        function(index)
    rates = []
    for part in np.array_split(np.arange(count), 7):
        began = time.process_time()
        for index in part.tolist():
            function(index)
        rates.append(len(part) / (time.process_time() - began))
    return statistics.median(rates)


def speeds(work: Path) -> dict[str, dict[str, float]]:
    """Return records a second of one process, step by step, for mustela and for the reference."""
    torch.set_num_threads(1)
    native = list(masked_records(TIMED))
    source = open_data(masked_file(work), work).source
    folder, options = work / "images", RenderOptions()
    processor = make_processor()
    dataset = RecordDataset(source, processor, options=options, seed=SEED)
    samples = [dataset.sample(index) for index in range(BATCH)]
    collator = Collator(processor.pad_token_id)
    found = [source[index][0] for index in range(TIMED)]
    images = [read_images(record, folder) for record in found[:BATCH]]
    rendered = [
        render(record, options, sizes_wh=[SIZE_WH], rng=sample_rng(SEED, 0, 0)) for record in found[:BATCH]
    ]
    reference = Reference(native, folder, processor, side=SIDE)
    fast_processor = make_processor(image_resize="torch")
    fast = RecordDataset(source, fast_processor, options=options, seed=SEED)
    plain = [reference[index] for index in range(BATCH)]
    texts = [reference.text(index) for index in range(BATCH)]
    pixels = [reference.pixels(index) for index in range(BATCH)]
    batches = 21

    def whole(chosen: RecordDataset) -> float:
        return timed(lambda number: collator([chosen[i] for i in group(number)]), batches) * BATCH

    def obvious_batch(number: int) -> dict[str, Any]:
        return reference.collate([reference[i] for i in group(number)])

    obvious = timed(obvious_batch, batches) * BATCH
    finish = fast_processor.normaliser
    ready = {
        "mustela": timed(lambda number: finish(collator([fast[i] for i in group(number)])), batches) * BATCH,
        "reference": timed(lambda number: reference.points(obvious_batch(number), POINTS), batches) * BATCH,
    }
    return {
        "decode (JPEG to RGB)": {
            "mustela": timed(lambda index: load_image(folder / found[index].images[0].path)),
            "reference": timed(reference.picture),
        },
        "read the record": {
            "mustela": timed(lambda index: source[index]),
            "reference": timed(lambda index: reference.records[index]),
        },
        "render": {
            "mustela": timed(
                lambda index: render(
                    found[index], options, sizes_wh=[SIZE_WH], rng=sample_rng(SEED, 0, index)
                )
            ),
            "reference": timed(reference.text),
        },
        "tokenise, fit the picture, regions": {
            "mustela": timed(
                lambda index: processor.encode(
                    rendered[index % BATCH], images[index % BATCH], rng=sample_rng(SEED, 0, index)
                )
            ),
            "reference": timed(
                lambda index: (
                    reference.tokens(texts[index % BATCH]),
                    reference.masks(index % BATCH),
                    reference.fit(pixels[index % BATCH]),
                )
            ),
        },
        "fit the picture, image_resize: torch": {
            "mustela": timed(lambda index: fast_processor.prepare_image(images[index % BATCH][0])),
            "reference": timed(lambda index: reference.fit(pixels[index % BATCH])),
        },
        f"collate (batches of {BATCH})": {
            "mustela": timed(lambda _: collator(samples), batches) * BATCH,
            "reference": timed(lambda _: reference.collate(plain), batches) * BATCH,
        },
        "everything": {"mustela": whole(dataset), "reference": obvious},
        "everything, image_resize: torch": {"mustela": whole(fast), "reference": obvious},
        "the same, and pictures normalised, points drawn": ready,
    }


def loading(work: Path) -> dict[str, dict[str, float]]:
    """Return records a second by the clock through a loader, by its number of workers."""
    torch.set_num_threads(1)
    native = list(masked_records(TIMED))
    processor = make_processor(image_resize="torch")
    source = open_data(masked_file(work), work).source
    ours = RecordDataset(source, processor, options=RenderOptions(), seed=SEED)
    theirs = Reference(native, work / "images", processor, side=SIDE)
    found: dict[str, dict[str, float]] = {}
    for workers in (1, 2):
        found[str(workers)] = {
            "mustela": walked(ours, Collator(processor.pad_token_id), workers),
            "reference": walked(theirs, theirs.collate, workers),
        }
    return found


def walked(dataset: Any, collate: Callable[[Any], Any], workers: int) -> float:
    """Return records a second by the clock behind the first batches."""
    batches = iter(DataLoader(dataset, BATCH, num_workers=workers, collate_fn=collate))
    for _ in range(workers):
        next(batches)
    began, seen = time.monotonic(), 0
    for batch in batches:
        seen += len(batch.get("input_ids", batch.get("ids")))
    return seen / (time.monotonic() - began)


def masked_file(work: Path) -> Path:
    """Write the records with masks."""
    path = work / "masks.json"
    path.write_text(json.dumps(list(masked_records(TIMED))), encoding="utf-8")
    return path


def group(number: int) -> range:
    """Return the indices of a batch."""
    return range(number * BATCH % (TIMED - BATCH), number * BATCH % (TIMED - BATCH) + BATCH)


def sizes(path: Path, work: Path) -> dict[str, float]:
    """Return the megabytes of a batch's masks in the reference and of its points here."""
    processor = make_processor()
    reference = Reference(list(masked_records(BATCH)), work / "images", processor, side=SIDE)
    masks = sum(reference.masks(index).nbytes for index in range(BATCH))
    regions = sum(len(reference.masks(index)) for index in range(BATCH))
    return {"mask_mb": masks / MEGABYTE, "point_mb": regions * POINTS * 2 * 4 / MEGABYTE}


def machine() -> str:
    """Describe the machine in a phrase."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()},"
        f" torch {torch.__version__}"
    )


def child(phase: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a phase of the benchmark in a process of its own."""
    command = [sys.executable, __file__, "--phase", phase]
    command += ["--records", str(arguments.records), "--work", str(arguments.work)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure everything; write JSON and a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_100_000)
    parser.add_argument("--work", type=Path, required=True, help="folder for 2 GB of generated files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "data.json")
    parser.add_argument("--page", type=Path, default=None)
    parser.add_argument("--shared", action="store_true", help="the machine does other work at the same time")
    parser.add_argument(
        "--steps_only", action="store_true", help="measure the steps anew and keep the rest of --out"
    )
    parser.add_argument("--phase", choices=("first", "again", "speeds", "loading"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    path = generate(arguments.work, arguments.records)
    if arguments.phase in ("speeds", "loading"):
        measure = speeds if arguments.phase == "speeds" else loading
        print(json.dumps(measure(arguments.work)))
        return
    if arguments.phase:
        print(json.dumps(start(path, arguments.work, walk=arguments.phase == "again")))
        return
    result = {"file_mb": path.stat().st_size / MEGABYTE}
    phases = ("first", "again", "speeds", "loading")
    if arguments.steps_only:
        result, phases = json.loads(arguments.out.read_text("utf-8")), ("speeds", "loading")
    else:
        subprocess.run(["rm", "-rf", str(arguments.work / "cache")], check=True)
    result |= {
        "machine": machine(),
        "shared": arguments.shared,
        "pictures": PICTURES,
        "size_wh": SIZE_WH,
        "workers": WORKERS,
        "points": POINTS,
        "batch": BATCH,
        **{phase: child(phase, arguments) for phase in phases},
        **sizes(path, arguments.work),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    shared = " --shared" if arguments.shared else ""
    command = (
        f"python benchmarks/data.py --records {result['first']['records']} --work FOLDER{shared}"
        " --page docs/about/data_size.md"
    )
    text = page(result, command=command)
    if arguments.page is not None:
        arguments.page.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
