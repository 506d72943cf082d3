"""Writing safetensors tensor by tensor, and a folder that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from mustela.convert.plan import Step
from mustela.errors import CheckpointError

__all__ = ["new_folder", "write_shard", "write_weights"]

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside the wanted one, to be filled; it takes its name when all went well.

    Raises:
        CheckpointError: there is something already, or the disk can't be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists and isn't an empty folder. Name another, or delete it.")
    part = folder.with_name(f"{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} can't be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_weights(steps: Sequence[Step], folder: Path, *, shard_bytes: int) -> list[Path]:
    """Write tensors into safetensors files, one tensor in memory at a time.

    Args:
        steps: what to write, in this order.
        folder: where.
        shard_bytes: bytes of a file at most, unless a single tensor has more.

    Returns:
        The files; with more than one there is an index, as transformers reads it.
    """
    shards: list[list[Step]] = [[]]
    filled = 0
    for step in steps:
        if shards[-1] and filled + _bytes(step) > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(step)
        filled += _bytes(step)
    files: list[Path] = []
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = (
            "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        )
        write_shard(shard, folder / name)
        files.append(folder / name)
        places |= {step.name: name for step in shard}
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(map(_bytes, steps))}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return files


def _bytes(step: Step) -> int:
    return torch.Size(step.shape).numel() * step.dtype.itemsize


def write_shard(steps: Sequence[Step], path: Path) -> None:
    """Write one safetensors file, one tensor in memory at a time."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for step in steps:
        header[step.name] = {
            "dtype": _CODES[step.dtype],
            "shape": list(step.shape),
            "data_offsets": [place, place + _bytes(step)],
        }
        place += _bytes(step)
    # The numbers begin at a multiple of eight, so that they can be mapped.
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for step in steps:
            _write_tensor(step, file)
        file.flush()
        os.fsync(file.fileno())


def _write_tensor(step: Step, file: BinaryIO) -> None:
    tensor: Tensor = step.make()
    if tuple(tensor.shape) != step.shape:
        raise CheckpointError(f"{step.name} became {list(tensor.shape)} and not {list(step.shape)}.")
    tensor = tensor.to(step.dtype).contiguous()
    file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
