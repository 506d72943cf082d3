"""Quantised layers in a rehearsal: what bitsandbytes' layers take, without its numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mustela.model.quantisation import UNQUANTISED, Quantisation
from mustela.train.rehearsal import Rehearsal

# Weights of one constant in 4 bits, and constants of one constant of their own with `double_quant`.
_BLOCK = 64
_OUTER_BLOCK = 256


class _Unpacked(torch.autograd.Function):
    """A product with weights that are unpacked for it, and again for the gradient.

    Layers of 8 bits multiply as they are, in whole numbers that are scaled afterwards.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bits: int) -> Tensor:
        ctx.weight = weight
        if bits == 4:
            return functional.linear(inputs, _unpack(weight, inputs))
        rounded = torch.empty_like(inputs, dtype=torch.int8)
        whole = rounded.new_empty((*inputs.shape[:-1], weight.shape[0]), dtype=torch.int32)
        return whole.to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] @ _unpack(ctx.weight, gradients[0]), None, None


def _unpack(weight: Tensor, like: Tensor) -> Tensor:
    return torch.empty(weight.shape, dtype=like.dtype)


class PackedLinear(nn.Linear):
    """A linear layer with weights in 4 or 8 bits.

    Its `weight` has the layer's shape; `stored_bytes` says what it takes packed.
    """

    def __init__(self, layer: nn.Linear, quantisation: Quantisation, rehearsal: Rehearsal) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        packed = rehearsal.adopt(
            torch.empty(self.out_features, self.in_features, dtype=torch.uint8, device="meta")
        )
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = layer.bias
        self.bits = quantisation.bits
        self.compute_dtype = quantisation.compute_dtype
        self.stored_bytes = _stored(packed.numel(), self.out_features, quantisation)

    def forward(self, input: Tensor) -> Tensor:
        """Return the product, in the numbers of the inputs."""
        inputs = input.to(self.compute_dtype)
        made: Tensor = _Unpacked.apply(inputs, self.weight, self.bits)
        if self.bias is not None:
            made = made + self.bias.to(made.dtype)
        return made.to(input.dtype)


def _stored(count: int, rows: int, quantisation: Quantisation) -> int:
    if quantisation.bits == 8:
        return count + 4 * rows
    blocks = -(-count // _BLOCK)
    constants = blocks + 4 * -(-blocks // _OUTER_BLOCK) if quantisation.double_quant else 4 * blocks
    return count // 2 + constants


def pack(model: nn.Module, quantisation: Quantisation, rehearsal: Rehearsal) -> None:
    """Put packed layers in the place of those that bitsandbytes would quantise."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not set(name.split(".")) & set(UNQUANTISED):
            model.set_submodule(name, PackedLinear(module, quantisation, rehearsal))


def adopt_model(model: nn.Module, quantisation: Quantisation | None, rehearsal: Rehearsal) -> None:
    """Replace all numbers of a model by fake ones, and quantised layers by packed ones, in place."""
    for name, module in list(model.named_modules()):
        if type(module).__name__ in ("Linear4bit", "Linear8bitLt") and quantisation is not None:
            model.set_submodule(name, PackedLinear(module, quantisation, rehearsal))
    made: dict[int, Tensor] = {}
    for module in model.modules():
        if isinstance(module, PackedLinear):
            continue
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(rehearsal.adopt(parameter), parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = rehearsal.adopt(buffer)
