"""Packed rows against batches of similar length and plain batches, on lengths as they come.

    python benchmarks/bench_packing.py

Two parts. Padding: 3,000 lengths of a lognormal distribution, cut to 20 ... 2048, in plain batches,
grouped ones (`group_by_length`) and packed rows, by the code that training uses; nothing is computed.
Speed: an epoch of 96 texts of such lengths, cut to 512, through a small language model (hidden 128, 4
layers), forward and backward: tokens a second, padding not counted, and the most bytes of tensors that
live at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from bench_train_step import LANGUAGE_MODEL, VISION_TOWER
from measuring import RUNS, counted_peak, machine, take_turns, write
from transformers import set_seed

from data import WORDS
from mustela.constants import IGNORE_INDEX
from mustela.data.collator import collate, join_samples
from mustela.data.packing import RowPlan
from mustela.model.build import ClassicSettings, RegionSettings, build_stand_in
from mustela.train.order import EpochSampler, Strategy

SMALL = {**LANGUAGE_MODEL, "hidden_size": 128, "intermediate_size": 344, "vocab_size": 4000}
BATCH = 8


def lengths_of(count: int, longest: int) -> npt.NDArray[np.int64]:
    """Draw skewed lengths."""
    drawn = np.random.default_rng(0).lognormal(5.2, 0.7, count) * longest / 2048
    return drawn.clip(20, longest).astype(np.int64)


def batches(lengths: npt.NDArray[np.int64], strategy: Strategy) -> list[list[int]]:
    """Return the samples of each batch of an epoch, as training orders them."""
    sampler = EpochSampler(
        len(lengths), seed=0, strategy=strategy, lengths=lengths.tolist(), batch_size=BATCH
    )
    order = sampler.positions()
    return [order[at : at + BATCH] for at in range(0, len(order), BATCH)]


def padding(lengths: npt.NDArray[np.int64], groups: Sequence[Sequence[int]]) -> float:
    """Return the share of padding in batches, each as wide as its longest sample."""
    width = sum(len(group) * int(lengths[list(group)].max()) for group in groups)
    return 1 - int(lengths.sum()) / width


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    where = machine(arguments.threads)
    many = lengths_of(3000, 2048)
    plan = RowPlan(many, row_length=2048, seed=0)
    shares = {
        "plain": padding(many, batches(many, "random")),
        "grouped": padding(many, batches(many, "group_by_length")),
        "packed": 1 - plan.fill,
    }

    set_seed(0)
    model, processor = build_stand_in(
        SMALL,
        VISION_TOWER,
        [" ".join(WORDS)] * 20,
        version="v1",
        regions=RegionSettings(encoder="none"),
        classic=ClassicSettings(image_wh=(336, 336), projector_type="mlp2x_gelu"),
    )
    model.base.model.vision_tower.requires_grad_(False)
    model.base.model.multi_modal_projector.requires_grad_(False)
    model.train()
    lengths = lengths_of(96, 512)
    numbers = torch.Generator().manual_seed(0)
    samples = []
    for length in lengths.tolist():
        ids = torch.randint(10, 60, (length,), generator=numbers)
        labels = ids.where(torch.arange(length) > length * 2 // 3, IGNORE_INDEX)
        samples.append({"input_ids": ids, "labels": labels, "num_images": torch.tensor(0)})
    rows = [
        join_samples([samples[one] for one in row])
        for row in RowPlan(lengths, row_length=512, seed=0).rows(0)
    ]
    plain, grouped = (
        [[samples[one] for one in batch] for batch in batches(lengths, strategy)]
        for strategy in ("random", "group_by_length")
    )
    # Rows of 512 ids, as many as a plain batch is wide on average.
    together = 2
    sides = {
        "plain": plain,
        "grouped": grouped,
        "packed": [rows[at : at + together] for at in range(0, len(rows), together)],
    }
    pad = processor.pad_token_id
    made = {name: [collate(batch, pad_token_id=pad) for batch in groups] for name, groups in sides.items()}
    items = sum(int((sample["labels"][1:] != IGNORE_INDEX).sum()) for sample in samples)
    losses: dict[str, float] = {}

    def epoch(name: str) -> None:
        model.zero_grad(set_to_none=True)
        losses[name] = 0.0
        for batch in made[name]:
            loss = model(**batch, num_items_in_batch=items).loss
            loss.backward()
            losses[name] += float(loss.detach())

    def side(name: str) -> Any:
        return lambda: epoch(name)

    peaks = {name: counted_peak(side(name)) for name in sides}
    times = take_turns({name: side(name) for name in sides}, runs=arguments.runs)
    table = [
        {
            "batches": name,
            "padding_of_3000": shares[name],
            "padding": 1 - int(lengths.sum()) / sum(batch["input_ids"].numel() for batch in made[name]),
            "tokens_per_cpu_s": int(lengths.sum()) / times[name].cpu_s,
            "epoch_cpu_s": times[name].cpu_s,
            "epoch_wall_s": times[name].wall_s,
            "times_faster_cpu": times["plain"].cpu_s / times[name].cpu_s,
            "peak_mb": peaks[name] / 1e6,
            "loss": losses[name],
        }
        for name in sides
    ]
    largest = max(losses.values()) - min(losses.values())
    notes = [
        f"The epoch's losses differ by at most {largest:.1e}.",
        f"Plain and grouped: {BATCH} samples a batch. Packed: {together} rows of 512 ids.",
    ]
    write("packing", "Packed rows", machine=where, rows=table, notes=notes)


if __name__ == "__main__":
    main()
