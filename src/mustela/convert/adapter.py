"""LoRA folders of the original: their factors, merged or written as an adapter that PEFT loads."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mustela.convert.checkpoint import Checkpoint
from mustela.convert.names import EMBEDDINGS, adapter_module, our_name
from mustela.convert.plan import Lora, Step
from mustela.convert.writing import write_shard
from mustela.errors import CheckpointError
from mustela.model.adapter import PEFT_PREFIX, TENSORS_FILE, Adapter, write_description
from mustela.model.lora import LoraSettings
from mustela.model.origin import Origin, probe

__all__ = ["LoraFolder", "read_lora", "write_adapter"]

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_OTHERS = ("non_lora_trainables.bin", "non_lora_trainables.safetensors")
_UNKNOWN = ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layers_to_transform")


@dataclass(frozen=True)
class LoraFolder:
    """A LoRA folder of the original.

    Attributes:
        settings: adapter_config.json.
        lora: the factors.
        adapter: the file that they are in, which may hold other tensors too.
        others: what was trained beside them; None if there is no such file.
    """

    settings: dict[str, Any]
    lora: Lora
    adapter: Checkpoint
    others: Checkpoint | None

    def other_name(self, name: str) -> str | None:
        """Return our name of a tensor of the adapter's file that is no factor."""
        return None if adapter_module(name) is not None else our_name(name)


def read_lora(folder: Path) -> LoraFolder:
    """Read a folder's adapter_config.json and the names of its tensors.

    Raises:
        CheckpointError: a file is missing, a factor lacks its other half, or the adapter is of another kind.
    """
    config = folder / "adapter_config.json"
    try:
        settings: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{config} is not the configuration of a LoRA adapter: {error!r}") from error
    odd = [key for key in _UNKNOWN if settings.get(key)]
    if settings.get("peft_type", "LORA") != "LORA" or odd:
        raise CheckpointError(
            f"{config}: only plain LoRA is converted, not {', '.join(odd) or settings['peft_type']}."
        )
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{folder} has no adapter: looked for {', '.join(_FILES)}.")
    adapter = Checkpoint([file])
    halves: dict[str, dict[str, str]] = {}
    for name, stored in adapter.tensors.items():
        found = adapter_module(name)
        if found is not None:
            if 0 in stored.shape:
                raise CheckpointError(f"{file}: {name} is empty: it was saved without gathering its pieces.")
            halves.setdefault(found[0], {})[found[1]] = name
    alone = [next(iter(pair.values())) for pair in halves.values() if len(pair) != 2]
    if alone:
        raise CheckpointError(f"{file}: {alone[0]} lacks its other half (lora_A and lora_B).")
    factors = {weight: (pair["A"], pair["B"]) for weight, pair in halves.items()}
    for first, _ in factors.values():
        if adapter.tensors[first].shape[0] != rank:
            raise CheckpointError(
                f"{file}: {first} is {list(adapter.tensors[first].shape)}, but {config.name} says r = {rank}."
            )
    scale = alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank
    others = next((folder / name for name in _OTHERS if (folder / name).is_file()), None)
    return LoraFolder(
        settings,
        Lora(adapter, factors, scale),
        adapter,
        Checkpoint([others]) if others is not None else None,
    )


def write_adapter(lora: LoraFolder, part: Path, *, model: Path) -> None:
    """Write the factors into `part/adapter`, which both `from_pretrained` and PEFT load with their base.

    Args:
        lora: the original's folder.
        part: the converted model without the adapter, all but its own config.json written.
        model: its name in the end.
    """
    folder = part / "adapter"
    steps = []
    for weight, names in lora.lora.factors.items():
        for half, name in zip("AB", names, strict=True):
            stored = lora.adapter.tensors[name]
            steps.append(
                Step(
                    f"{weight.removesuffix('.weight')}.lora_{half}.weight",
                    stored.shape,
                    stored.dtype,
                    (name,),
                    "copied",
                    stored,
                    partial(lora.adapter.read, name),
                )
            )
    write_shard([replace(step, name=f"{PEFT_PREFIX}{step.name}") for step in steps], folder / TENSORS_FILE)
    targets = tuple(weight.removesuffix(".weight") for weight in sorted(lora.lora.factors))
    settings = LoraSettings(
        r=int(lora.settings["r"]),
        alpha=float(lora.settings["lora_alpha"]),
        dropout=float(lora.settings.get("lora_dropout") or 0.0),
        dora=False,
        rslora=bool(lora.settings.get("use_rslora")),
        targets=targets,
    )
    embedding = Checkpoint.of_folder(part).read(EMBEDDINGS)
    rows = embedding.shape[0]
    origin = Origin("mustela", str(part), None, rows, probe(embedding, rows))
    base = origin.to_json(folder)
    base["model"]["name"] = str(model.resolve())
    shapes = {step.name: step.shape for step in steps}
    write_description(Adapter(origin, settings, None, shapes), folder, base=base)
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": model.name,
        "r": settings.r,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "bias": "none",
        # In full, as the vision tower's layers have the same last names.
        "target_modules": f"(?:{'|'.join(map(re.escape, targets))})",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
