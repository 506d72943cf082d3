"""A training step against transformers' own LLaVA under its stock Trainer and collator, on the same samples.

    python benchmarks/bench_train_step.py

Both have the same weights and see the same token ids, labels and pictures (640 x 480, fitted to 336), in
batches of 4. The peer has its own Trainer, DataCollatorForSeq2Seq and random batches; mustela its trainer
and batches of similar length, without regions (`none`: both compute the same) and with the region encoder
`geo`, which is work that the peer doesn't have. A step is from one optimizer step's end to the next, data
included; pictures are prepared beforehand for both.

Prediction from counted multiplications, for a batch of B tokens of which L are supervised: the head takes
32,000 x 256 x B of the peer and 32,000 x 256 x L of mustela, the layers 3.2 M x B of both. With B = 2,760
and L = 250 that is 31 G against 11 G: 2.9 times fewer, outside of attention and tower.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import RUNS, Times, counted_peak, machine, write
from PIL import Image
from transformers import (
    DataCollatorForSeq2Seq,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    TrainerCallback,
    set_seed,
)
from transformers import TrainingArguments as StockArguments

from data import SIZE_WH, WORDS, records
from mustela.config.training import TrainingArguments
from mustela.constants import IGNORE_INDEX
from mustela.data.collator import Collator
from mustela.data.native import record_from_native
from mustela.data.processor import MustelaProcessor
from mustela.data.render import RenderOptions, render, sample_rng
from mustela.model import MustelaForConditionalGeneration
from mustela.model.build import ClassicSettings, RegionSettings, build_stand_in
from mustela.model.parts import parts
from mustela.train.order import EpochSampler, EpochView
from mustela.train.setup import TrainerSetup
from mustela.train.trainer import MustelaTrainer

BATCH, SAMPLES = 4, 32
LANGUAGE_MODEL = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 32_000,
    "max_position_embeddings": 4096,
}
VISION_TOWER = {
    "model_type": "clip_vision_model",
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": 336,
    "patch_size": 14,
}
Sample = dict[str, torch.Tensor]


def build(encoder: str) -> tuple[MustelaForConditionalGeneration, MustelaProcessor]:
    """Make the model of random weights, its tower frozen."""
    set_seed(0)
    texts = [" ".join(WORDS) + " What is [1, 23, 456, 789]?"] * 20
    model, processor = build_stand_in(
        LANGUAGE_MODEL,
        VISION_TOWER,
        texts,
        version="v1",
        regions=RegionSettings(encoder=encoder),
        classic=ClassicSettings(image_wh=(336, 336), projector_type="mlp2x_gelu", select_layer=-2),
    )
    model.base.model.vision_tower.requires_grad_(False)
    return model, processor


def samples(processor: MustelaProcessor, *, features: bool) -> list[Sample]:
    """Return samples of generated conversations, one to three rounds each."""
    noise = np.random.default_rng(0)
    made = []
    for number, content in enumerate(records(SAMPLES)):
        record = record_from_native(content)
        coarse = Image.fromarray(noise.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        picture = coarse.resize(SIZE_WH, Image.Resampling.BICUBIC)
        options = RenderOptions(add_region_feature=features, box_input="box")
        rendered = render(record, options, sizes_wh=[SIZE_WH], rng=sample_rng(0, 0, number))
        made.append(processor.encode(rendered, [picture], rng=sample_rng(0, 0, number)))
    return made


def peer_of(model: MustelaForConditionalGeneration) -> LlavaForConditionalGeneration:
    """Return transformers' LLaVA with the same weights."""
    config = model.base.config
    peer = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=config.text_config,
            vision_config=config.vision_config,
            image_token_index=config.image_token_id,
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy="default",
            tie_word_embeddings=False,
        )
    )
    peer.load_state_dict(model.base.state_dict())
    peer.model.vision_tower.requires_grad_(False)
    return peer


class Listed(torch.utils.data.Dataset[Sample]):
    """Samples in a list."""

    def __init__(self, content: list[Sample]) -> None:
        self.content = content

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: samples are the same at every epoch."""

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, index: int) -> Any:
        return self.content[index]


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note wall and processor time."""
        self.ends.append((time.perf_counter(), time.process_time()))

    @property
    def times(self) -> Times:
        """Summarise the steps behind the first."""
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(self.ends[:-1], self.ends[1:], strict=True)]
        return Times.of([wall for wall, _ in steps], [cpu for _, cpu in steps])


def settings(kind: type[StockArguments], folder: str, runs: int) -> Any:
    """Return the same settings for both trainers."""
    return kind(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        max_steps=runs + 1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        learning_rate=1e-4,
        dataloader_pin_memory=False,
    )


def train_peer(peer: Any, content: list[Sample], processor: MustelaProcessor, runs: int) -> Times:
    """Time steps of the stock Trainer."""
    names = ("input_ids", "labels")
    plain = [
        {**{n: s[n].tolist() for n in names}, "pixel_values": s["pixel_values"][0].numpy()} for s in content
    ]
    processor.tokenizer.padding_side = "right"
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            peer,
            args=settings(StockArguments, folder, runs),
            data_collator=DataCollatorForSeq2Seq(processor.tokenizer),
            train_dataset=Listed(plain),
            callbacks=[clock],
        )
        trainer.train()
    return clock.times


def train_mustela(model: Any, content: list[Sample], processor: MustelaProcessor, runs: int) -> Times:
    """Time steps of mustela's trainer."""
    clock = Clock()
    sampler = EpochSampler(
        len(content),
        seed=0,
        strategy="group_by_length",
        lengths=[len(sample["input_ids"]) for sample in content],
        batch_size=BATCH,
    )
    named = {part: tuple(members) for part, members in parts(model).items()}
    with tempfile.TemporaryDirectory() as folder:
        trainer = MustelaTrainer(
            model,
            setup=TrainerSetup(parts=named, sampler=sampler, save_processor=lambda _: None),
            args=settings(TrainingArguments, folder, runs),
            data_collator=Collator(processor.pad_token_id),
            train_dataset=EpochView(Listed(content)),
            callbacks=[clock],
        )
        trainer.train()
    return clock.times


def step(model: Any, batch: Sample) -> Callable[[], float]:
    """Return a function that runs forward and backward and returns the loss."""

    def run() -> float:
        model.zero_grad(set_to_none=True)
        loss = model(**batch).loss
        loss.backward()
        return float(loss.detach())

    return run


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    where = machine(arguments.threads)
    model, processor = build("none")
    content = samples(processor, features=False)
    batch = Collator(processor.pad_token_id)(content[:BATCH])
    peer = peer_of(model).train()
    shared = {n: batch[n] for n in ("input_ids", "attention_mask", "labels", "pixel_values")}
    ours, theirs = step(model.train(), batch)(), step(peer, shared)()
    lengths = [len(sample["input_ids"]) for sample in content]
    labels = [int((sample["labels"] != IGNORE_INDEX).sum()) for sample in content]
    notes = [
        f"Loss of one batch: mustela {ours:.6f}, peer {theirs:.6f}, difference {abs(ours - theirs):.1e}.",
        f"Samples have {min(lengths)} to {max(lengths)} tokens (median {statistics.median(lengths):.0f}), a"
        f" median of {statistics.median(labels):.0f} supervised.",
    ]
    peer_bytes = counted_peak(step(peer, shared))
    peer_times = train_peer(peer, content, processor, arguments.runs)
    rows = [{"side": "transformers LLaVA, stock Trainer", **figures(peer_times, peer_bytes)}]
    for encoder in ("none", "geo"):
        if encoder != "none":
            model, processor = build(encoder)
            content = samples(processor, features=True)
            batch = Collator(processor.pad_token_id)(content[:BATCH])
        peak = counted_peak(step(model.train(), batch))
        times = train_mustela(model, content, processor, arguments.runs)
        compared = {
            "times_faster_cpu": peer_times.cpu_s / times.cpu_s,
            "share_of_peers_memory": peak / peer_bytes,
        }
        rows.append({"side": f"mustela, region encoder {encoder}", **figures(times, peak), **compared})
    notes.append(
        "Memory is the most bytes of tensors that lived at once in one forward and backward pass, weights"
        " left out and gradients counted."
    )
    write("train_step", "A training step", machine=where, rows=rows, notes=notes)


def figures(times: Times, peak: int) -> dict[str, Any]:
    """Return a row's figures."""
    return {
        "cpu_s": times.cpu_s,
        "wall_s": times.wall_s,
        "samples_per_cpu_s": BATCH / times.cpu_s,
        "peak_mb": peak / 1e6,
        "runs": times.runs,
    }


if __name__ == "__main__":
    main()
