"""Muon for weight matrices and AdamW for all else, as one optimizer of the Trainer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Of Jordan et al. 2024: the quintic iteration that is steepest at zero, and the momentum.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
# The size of AdamW's steps (Liu et al. 2025, "Muon is Scalable for LLM Training").
_STEP_SIZE = 0.2


def hidden_matrices(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that Muon suits: matrices and the kernels of 2-d convolutions.

    Embeddings and the head are left out.
    """
    left_out = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        left_out.add(id(head.weight))
    return {id(p) for p in model.parameters() if p.ndim in (2, 4)} - left_out


def orthogonalised(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices near to 1: `(N, R, C)`, in one go for all N.

    In bfloat16 on a GPU, in float32 on a CPU, few of which have instructions for bfloat16.
    """
    rows, columns = matrices.shape[1:]
    x = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    x = x.mT if rows > columns else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = _by_squares(x) if matrices.device.type == "cpu" else _step_by_step(x)
    return x.mT if rows > columns else x


def _step_by_step(x: Tensor) -> Tensor:
    first, third, fifth = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=third, alpha=fifth), x, beta=first)
    return x


def _by_squares(x: Tensor) -> Tensor:
    """Iterate on the squares `x @ x.mT`, which take a fraction of the time where rows are long.

    Each step multiplies x by a polynomial of its square, and all of these commute. Needs float32.
    """
    first, third, fifth = _QUINTIC
    square = x @ x.mT
    product = torch.eye(square.shape[1], device=x.device)
    for _ in range(_ITERATIONS):
        factor = torch.baddbmm(square, square, square, beta=third, alpha=fifth)
        factor.diagonal(dim1=1, dim2=2).add_(first)
        product = factor @ product
        square = factor @ square @ factor
    return product @ x


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with Nesterov momentum and steps of AdamW's size.

    As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, but a kernel of a convolution is a matrix
    with a row for each output channel, and matrices of equal shape are orthogonalised together, which takes
    fewer calls.

    Args:
        groups: parameter groups with `lr` and `weight_decay`; parameters have two axes or more.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the parameters by their gradients."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    direction = self._direction(parameter, parameter.grad)
                    alike[direction.shape].append((parameter, direction))
            for shape, members in alike.items():
                updates = orthogonalised(torch.stack([direction for _, direction in members]))
                rate = group["lr"] * _STEP_SIZE * max(shape) ** 0.5
                for (parameter, _), update in zip(members, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.reshape(parameter.shape), alpha=-rate)

    def _direction(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        """Update a parameter's momentum; return where it points, as a matrix."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(momentum, _MOMENTUM).flatten(1)


class MuonAdamW(torch.optim.Optimizer):
    """Muon and AdamW behind one interface, with one learning rate, as their steps are of one size.

    It helps most where matrices are trained from nothing.

    Args:
        groups: parameter groups as for AdamW, with `lr` and `weight_decay`; each is split in two.
        matrices: ids of the parameters that Muon updates.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        matrices: set[int],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        split: list[dict[str, Any]] = []
        for group in groups:
            for muon in (True, False):
                chosen = [p for p in group["params"] if (id(p) in matrices) is muon]
                if chosen:
                    split.append({**group, "params": chosen, "muon": muon})
        self._adamw_options: dict[str, Any] = {"betas": betas, "eps": eps}
        super().__init__(split, {})
        self._bind()

    def _bind(self) -> None:
        # The two share this optimizer's groups and state, so schedules and checkpoints see one optimizer.
        muon = [group for group in self.param_groups if group["muon"]]
        rest = [group for group in self.param_groups if not group["muon"]]
        self._parts: list[torch.optim.Optimizer] = []
        if muon:
            self._parts.append(Muon(muon))
        if rest:
            self._parts.append(torch.optim.AdamW(rest, **self._adamw_options))
        for part in self._parts:
            part.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore groups and state."""
        super().load_state_dict(state_dict)
        self._bind()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
