"""Checkpoints in shards, read tensor by tensor: only names and shapes are held, and one file is open."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mustela.errors import CheckpointError
from mustela.model.tensor_file import PICKLES, read_tensors

__all__ = ["Checkpoint", "Stored", "has_weights"]

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLES = ("model.safetensors", "pytorch_model.bin")
_SHARDS = ("model-*.safetensors", "pytorch_model-*.bin")
# A mapped file's pages count as ours once they were read, so it is opened anew now and then.
_REOPEN_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a checkpoint."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


class Checkpoint:
    """Named tensors in one or several files.

    Args:
        files: the files; a name may be in one of them only.
        only: the names that count (those of an index); None for all.

    Raises:
        CheckpointError: a file is missing, unreadable or holds more than tensors, or names don't add up.
    """

    def __init__(self, files: Iterable[Path], *, only: Iterable[str] | None = None) -> None:
        self.files = tuple(files)
        self._open: tuple[Path, Any] | None = None
        self._read = 0
        self._stack = ExitStack()
        self.tensors: dict[str, Stored] = {}
        for file in self.files:
            for name, stored in self._list(file).items():
                if name in self.tensors:
                    raise CheckpointError(f"{name} is in both {self.tensors[name].file.name} and {file}.")
                self.tensors[name] = stored
        self.close()
        if only is not None:
            missing = sorted(set(only) - self.tensors.keys())
            if missing:
                raise CheckpointError(
                    f"{self.files[0].parent}: the index names tensors that no file has: "
                    f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}. Copy the files again."
                )

    @classmethod
    def of_folder(cls, folder: Path) -> Checkpoint:
        """Find the weights of a folder: an index with its shards, one file, or shards without an index.

        Raises:
            CheckpointError: there are none; the message lists what was looked for.
        """
        for name in _INDEXES:
            if (folder / name).is_file():
                return cls._of_index(folder / name)
        for name in _SINGLES:
            if (folder / name).is_file():
                return cls([folder / name])
        for pattern in _SHARDS:
            shards = sorted(folder.glob(pattern))
            if shards:
                return cls(shards)
        looked = ", ".join([*_INDEXES, *_SINGLES, *_SHARDS])
        raise CheckpointError(f"{folder} has no weights: looked for {looked}.")

    @classmethod
    def _of_index(cls, index: Path) -> Checkpoint:
        try:
            places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        except (ValueError, KeyError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{index} is not an index of shards: {error!r}") from error
        names = sorted(set(places.values()))
        outside = [name for name in names if Path(name).name != name]
        if outside:
            raise CheckpointError(f"{index} names a file outside its folder: {outside[0]!r}.")
        missing = [name for name in names if not (index.parent / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{index.parent} lacks {len(missing)} of {len(names)} files that {index.name} names: "
                f"{', '.join(missing[:3])}. Copy them again."
            )
        return cls([index.parent / name for name in names], only=places)

    def read(self, name: str) -> Tensor:
        """Return a tensor, in memory of its own."""
        stored = self.tensors[name]
        if self._open is None or self._open[0] != stored.file:
            self._open_file(stored.file)
        content: Any = self._open[1]  # type: ignore[index]
        tensor: Tensor = content[name] if isinstance(content, dict) else content.get_tensor(name)
        tensor = tensor.detach().clone(memory_format=torch.contiguous_format)
        self._read += tensor.nbytes
        if self._read > _REOPEN_BYTES:
            del content
            self.close()
        return tensor

    def close(self) -> None:
        """Close the open file."""
        self._open = None
        self._read = 0
        self._stack.close()

    def _open_file(self, file: Path) -> None:
        self.close()
        if file.suffix in PICKLES:
            self._open = (file, read_tensors(file, mapped=True))
            return
        try:
            self._open = (file, self._stack.enter_context(safe_open(file, framework="pt")))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a readable safetensors file: {error}") from error

    def _list(self, file: Path) -> dict[str, Stored]:
        self._open_file(file)
        content: Any = self._open[1]  # type: ignore[index]
        if isinstance(content, dict):
            return {name: Stored(file, tuple(tensor.shape), tensor.dtype) for name, tensor in content.items()}
        found = {}
        for name in content.keys():  # noqa: SIM118 - not a dict
            piece = content.get_slice(name)
            found[name] = Stored(file, tuple(piece.get_shape()), _DTYPES[piece.get_dtype()])
        return found


def has_weights(folder: Path) -> bool:
    """Tell whether a folder has a checkpoint's files."""
    names = (*_INDEXES, *_SINGLES)
    return any((folder / name).is_file() for name in names) or any(
        next(folder.glob(pattern), None) is not None for pattern in _SHARDS
    )


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
