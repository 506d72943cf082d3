"""Muon for weight matrices and AdamW for all else, as one optimizer of the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def hidden_matrices(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that Muon suits: matrices that are neither embeddings nor the head."""
    left_out = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        left_out.add(id(head.weight))
    return {id(p) for p in model.parameters() if p.ndim == 2} - left_out


class MuonAdamW(torch.optim.Optimizer):
    """torch's Muon (Jordan et al. 2024) and AdamW behind one interface.

    Muon's steps are scaled to the size of AdamW's, so that both take the same learning rate. It helps most
    where matrices are trained from nothing.

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
            self._parts.append(torch.optim.Muon(muon, adjust_lr_fn="match_rms_adamw"))
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
