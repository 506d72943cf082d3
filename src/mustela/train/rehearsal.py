"""Rehearsing a training step without numbers: every operation runs, no floating-point number is kept.

Tensors of floating-point numbers are fake: they have a shape, a type and a storage that is counted and never
allocated. Integers and truth values are real, as the model looks at them (which tokens are images, where the
labels are). So a model of any size can be built and taken through a step on a laptop, by its own code.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

_FEW = 256


class Rehearsal(TorchDispatchMode):
    """While it is active, floating-point tensors are fake, and the bytes of all living storages are counted.

    Attributes:
        now: bytes of the storages that were made under it and still live.
        peak: the most that lived at once since `restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.now = 0
        self.peak = 0
        self._living: set[int] = set()

    def restart(self) -> None:
        """Count the peak from here."""
        self.peak = self.now

    def adopt(self, tensor: Tensor) -> Tensor:
        """Return a fake tensor like a real one, not counted."""
        with self.fake:
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
        self._keep(made.untyped_storage(), 0)
        return made

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        flat, spec = tree_flatten((args, dict(kwargs or {})))
        tensors = [value for value in flat if isinstance(value, Tensor)]
        if any(tensor.is_meta and not isinstance(tensor, FakeTensor) for tensor in tensors):
            return func(*args, **(kwargs or {}))
        if func is torch.ops.aten.eq.Scalar and tensors[0].is_floating_point():
            # No number equals another: models ask so whether a picture is only there to fill up a batch.
            return torch.zeros(tensors[0].shape, dtype=torch.bool)
        if not any(isinstance(tensor, FakeTensor) or _is_large(tensor) for tensor in tensors):
            made = self._from_integers(func, args, dict(kwargs or {}), is_factory=not tensors)
        elif func._schema.is_mutable and tensors and not isinstance(tensors[0], FakeTensor):
            # A real tensor of integers that takes values nobody knows keeps those that it has.
            return args[0]
        else:
            if func.overloadpacket is torch.ops.aten.index:
                args = (args[0], [each for index in args[1] for each in _positions(index)])
                flat, spec = tree_flatten((args, dict(kwargs or {})))
            flat = [self._faked(value) for value in flat]
            fake_args, fake_kwargs = tree_unflatten(flat, spec)
            with self.fake:
                made = func(*fake_args, **fake_kwargs)
        # Weak references keep a module from changing the type of its numbers.
        self.fake.fake_tensor_converter.tensor_memo.clear()
        tree_map_only(Tensor, self._count, made)
        return made

    def _from_integers(self, func: Any, args: Any, kwargs: dict[str, Any], *, is_factory: bool) -> Any:
        """Run on integers and a few numbers alone: really, unless many numbers come of it."""
        if is_factory and kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "meta":
            return func(*args, **kwargs)
        if is_factory:
            with self.fake:
                made = func(*args, **kwargs)
            if not isinstance(made, Tensor) or made.is_floating_point():
                return made
            del made
        made = func(*args, **kwargs)
        return tree_map_only(Tensor, lambda each: self.adopt(each) if _is_large(each) else each, made)

    def _faked(self, value: Any) -> Any:
        return self.adopt(value) if isinstance(value, Tensor) and not isinstance(value, FakeTensor) else value

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._living:
            self._keep(storage, storage.nbytes())

    def _keep(self, storage: torch.UntypedStorage, size: int) -> None:
        self._living.add(storage._cdata)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, size)

    def _forget(self, key: int, size: int) -> None:
        self._living.discard(key)
        self.now -= size


def _is_large(tensor: Tensor) -> bool:
    """Say of real numbers whether they are faked; a few are kept, as positions are made of them."""
    return tensor.is_floating_point() and tensor.numel() > _FEW


def _positions(index: Tensor | None) -> list[Tensor | None]:
    """Return an index by truth values as indices by numbers, as its length must be known."""
    if index is None or index.dtype != torch.bool or isinstance(index, FakeTensor):
        return [index]
    return list(index.nonzero().unbind(1))
