"""What a conversion reads from, and what it may be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from mustela.convert.adapter import LoraFolder, read_lora
from mustela.convert.checkpoint import Checkpoint, has_weights
from mustela.convert.layouts import Layout, read_layout
from mustela.convert.names import EMBEDDINGS, our_name, our_tower_name
from mustela.convert.plan import Part
from mustela.errors import CheckpointError

__all__ = ["ConversionOptions", "Source", "dtype_of", "open_source"]


@dataclass(frozen=True)
class ConversionOptions:
    """What a conversion may be told.

    Attributes:
        base: folder of the language model that a delta or a LoRA adapter belongs to.
        delta: the source holds differences to `base`.
        vision_tower: folder of the vision tower, where the source has none.
        version: template; None is the one that this kind of model was trained with.
        image_aspect_ratio: how pictures are fitted; None is as the source says or was trained.
        pooling: of the sampler, where the source doesn't say.
        lora: merge a LoRA adapter, or write it beside the model.
        dtype: of the new model; None is that of the source's embeddings.
        allow_unread: patterns of the source's names that may be left out.
        allow_missing: patterns of the new model's names that may be made afresh.
        shard_bytes: bytes of a file at most.
        seed: of what is made afresh.
    """

    base: Path | None = None
    delta: bool = False
    vision_tower: Path | None = None
    version: str | None = None
    image_aspect_ratio: Literal["square_nocrop", "pad"] | None = None
    pooling: Literal["max", "mean"] | None = None
    lora: Literal["merge", "adapter"] = "merge"
    dtype: torch.dtype | None = None
    allow_unread: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()
    shard_bytes: int = 5 * 10**9
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """Where the tensors and files of a conversion come from."""

    folder: Path
    layout: Layout
    parts: list[Part]
    delta_base: Part | None
    lora: LoraFolder | None
    places: list[Path]
    tower: Path | None
    names: set[str] = field(default_factory=set)

    @property
    def region_encoder(self) -> Literal["geo", "mean"] | None:
        """Kind of the region encoder that the source has."""
        if any(name.startswith("region_encoder.stages.") for name in self.names):
            return "geo"
        return "mean" if any(name.startswith("region_encoder.projection.") for name in self.names) else None


def open_source(source: Path, options: ConversionOptions) -> Source:
    """Open what a conversion reads from.

    Raises:
        CheckpointError: files are missing, or options and files don't go together.
    """
    if not source.is_dir():
        raise CheckpointError(f"{source}: there is no such folder.")
    is_lora = (source / "adapter_config.json").is_file()
    if options.delta and (options.base is None or is_lora):
        raise CheckpointError(
            "--delta: give --base DIR, the language model that the differences are to be added to."
            if options.base is None
            else f"{source} is a LoRA adapter and no delta: leave out --delta."
        )
    if options.base is not None and not (options.delta or is_lora):
        raise CheckpointError(f"{source} holds whole weights, so --base isn't used: leave it out.")
    if is_lora and options.base is None:
        raise CheckpointError(f"{source} is a LoRA adapter: give --base DIR, the model it was trained on.")
    tower = source / "vision_tower"
    place = tower if (tower / "config.json").is_file() else options.vision_tower
    layout = read_layout(source, tower=place)
    lora = read_lora(source) if is_lora else None
    parts: list[Part] = []
    base = Part("base", Checkpoint.of_folder(options.base), our_name) if options.base is not None else None
    if lora is not None:
        parts.append(Part("adapter", lora.adapter, lora.other_name, otherwise="a factor of the adapter"))
        parts += [Part("trained beside it", lora.others, our_name)] if lora.others is not None else []
        parts += [base] if base is not None else []
    else:
        parts.append(Part("checkpoint", Checkpoint.of_folder(source), our_name))
    if not layout.is_ready and place is not None and has_weights(place):
        parts.append(Part("vision tower", Checkpoint.of_folder(place), our_tower_name))
    names = {name for part in parts for old in part.checkpoint.tensors if (name := part.name_of(old))}
    places = [source] + ([options.base] if options.base is not None else [])
    return Source(source, layout, parts, base if options.delta else None, lora, places, place, names)


def dtype_of(found: Source) -> torch.dtype:
    """Return the type of the numbers of the source's embeddings."""
    return next(
        stored.dtype
        for part in reversed(found.parts)
        for old, stored in part.checkpoint.tensors.items()
        if part.name_of(old) == EMBEDDINGS
    )
