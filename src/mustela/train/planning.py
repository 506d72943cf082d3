"""A dry run: what a run would do, found without training and, if need be, without weights or data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import transformers
from torch import Tensor
from transformers import initialization

from mustela.config.training import StageArguments
from mustela.constants import IGNORE_INDEX
from mustela.data.collator import collate
from mustela.data.dataset import RecordDataset
from mustela.data.packing import PackedDataset
from mustela.data.processor import MustelaProcessor
from mustela.data.streamed import StreamedSamples
from mustela.model.build import build_stand_in
from mustela.train.build import (
    Built,
    build,
    classic_of,
    frozen_dtype,
    quantisation_of,
    region_settings,
)
from mustela.train.data import StageData, load_data, tokenizer_texts
from mustela.train.freezing import part_sizes
from mustela.train.memory import Memory, estimate_memory
from mustela.train.packed import adopt_model, pack
from mustela.train.plan import Lengths, describe_stage, schedule
from mustela.train.rehearsal import Rehearsal
from mustela.train.stage import set_up_learning
from mustela.train.stand_in import StandIn
from mustela.train.stand_in_base import build_stand_in_base

_SAMPLES_LOOKED_AT = 64


@dataclass(frozen=True)
class StagePlan:
    """What a stage would do: as text, and the memory of a device."""

    text: str
    memory: Memory


def plan_stages(
    stages: Sequence[StageArguments],
    *,
    from_scratch: Mapping[str, Any] | None = None,
    stand_in: StandIn | None = None,
) -> list[StagePlan]:
    """Plan every stage: mixture, steps, lengths, what learns, memory.

    Args:
        stages: of the run, checked.
        from_scratch: description of a model to build from nothing, or None.
        stand_in: what is planned with where weights or data are missing, or None.
    """
    data = [
        None if stand_in is not None and stand_in.replaces_data(stage.data) else load_data(stage)
        for stage in stages
    ]
    transformers.set_seed(stages[0].training.seed)
    rehearsal = Rehearsal()
    built, notes = _build(
        stages[0], [item for item in data if item is not None], from_scratch, stand_in, rehearsal
    )
    made = []
    for stage, item in zip(stages, data, strict=True):
        if item is not None:
            notes.append(item.table)
        else:
            notes.append(
                f"Not all data files are here: {_files(stage)}. The sizes are those that the recipe expects."
            )
        text, memory = _describe(stage, item, built, stand_in, rehearsal)
        made.append(StagePlan("\n".join([*notes, text]), memory))
        notes = []
    return made


def _files(stage: StageArguments) -> str:
    return ", ".join(stage.data.data_path) or "none is named"


def _build(
    stage: StageArguments,
    data: Sequence[StageData],
    from_scratch: Mapping[str, Any] | None,
    stand_in: StandIn | None,
    rehearsal: Rehearsal,
) -> tuple[Built, list[str]]:
    """Make a model without numbers."""
    training = stage.training
    quantisation = quantisation_of(training)
    classic = classic_of(stage)
    if from_scratch is None and stand_in is not None and stand_in.replaces_model(stage.model):
        # There are no numbers to draw.
        with rehearsal, initialization.no_init_weights():
            regions, dtype = region_settings(stage.model), frozen_dtype(training)
            if stand_in.base is not None:
                built = build_stand_in_base(
                    stand_in.base,
                    stand_in.image_processor or {},
                    tokenizer_texts(data),
                    regions=regions,
                    rehearsal=rehearsal,
                    dtype=dtype,
                )
            else:
                built = build_stand_in(
                    stand_in.language_model or {},
                    stand_in.vision_tower or {},
                    tokenizer_texts(data),
                    version=stage.model.version,
                    regions=regions,
                    classic=classic,
                    dtype=dtype,
                )
            if quantisation is not None:
                pack(built[0], quantisation, rehearsal)
        return built, [
            "The weights aren't here: the model is made from its configuration, and the tokens are counted "
            "with a tokenizer made from the texts."
        ]
    built = build(
        stage.model,
        classic=classic,
        from_scratch=from_scratch,
        texts=tokenizer_texts(data),
        training=training,
    )
    adopt_model(built[0], quantisation, rehearsal)
    return built, []


def _describe(
    stage: StageArguments,
    data: StageData | None,
    built: Built,
    stand_in: StandIn | None,
    rehearsal: Rehearsal,
) -> tuple[str, Memory]:
    model, processor = built
    training = stage.training
    projector = stage.model.pretrain_mm_mlp_adapter
    if stand_in is not None and projector is not None and not Path(projector).is_file():
        stage = replace(stage, model=replace(stage.model, pretrain_mm_mlp_adapter=None))
    dataset = None if data is None else data.training_set(processor, training)
    samples = _samples(stage, dataset, processor, stand_in)
    lengths = [int(sample["input_ids"].shape[0]) for sample in samples]
    supervised = [int((sample["labels"] != IGNORE_INDEX).sum()) for sample in samples]
    chosen = _largest_batch(samples, lengths, training.train_batch_size)
    batch = collate(chosen, pad_token_id=processor.pad_token_id)
    batch.pop("record", None)
    with rehearsal:
        learning = set_up_learning(model, processor, stage)
        faked = {
            name: rehearsal.adopt(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in batch.items()
        }
        memory = estimate_memory(model, faked, training=training, rehearsal=rehearsal)
    processes = training.world_size
    if processes == 1 and stand_in is not None:
        processes = stand_in.devices
    count = (
        len(dataset)
        if dataset is not None
        else stand_in.samples_of(stage.name)
        if stand_in is not None
        else 0
    )
    text = describe_stage(
        stage.name,
        plan=schedule(count, training, processes=processes),
        lengths=Lengths.of(lengths, supervised),
        sizes=part_sizes(model, parts=learning.parts),
        memory=memory,
        model_max_length=training.model_max_length,
        unit="row" if stage.data.packing else "sample",
        counted=not stage.data.streaming,
    )
    return text, memory


def _samples(
    stage: StageArguments,
    dataset: RecordDataset | PackedDataset | StreamedSamples | None,
    processor: MustelaProcessor,
    stand_in: StandIn | None,
) -> list[dict[str, Tensor]]:
    """Return some of the samples, evenly spread, or the one that stands in for them."""
    training = stage.training
    if dataset is not None:
        count = min(_SAMPLES_LOOKED_AT, len(dataset))
        if isinstance(dataset, StreamedSamples):
            return [dataset[place] for place in range(count)]
        return [dataset[number * len(dataset) // count] for number in range(count)]
    if stand_in is None:
        return []
    return [stand_in.sample(processor, longest=training.model_max_length)]


def _largest_batch(
    samples: Sequence[dict[str, Tensor]], lengths: Sequence[int], size: int
) -> list[dict[str, Tensor]]:
    """Choose a batch with the longest sample, which all others are padded to, and others as they come."""
    order = sorted(range(len(samples)), key=lambda index: lengths[index], reverse=True)
    rest = order[1:] or order
    return [samples[order[0]], *(samples[rest[number * len(rest) // size]] for number in range(size - 1))]
