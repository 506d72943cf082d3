"""The loss of supervised positions.

Shape legend: L supervised positions, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def supervised_loss(
    logits_LV: Tensor,
    targets_L: Tensor,
    *,
    weights_L: Tensor | None = None,
    smoothing: float = 0.0,
    items: Tensor | int | None = None,
) -> Tensor:
    """Cross entropy summed over supervised tokens and divided by `items`.

    Args:
        logits_LV: `(L, V)` logits of the L supervised positions.
        targets_L: `(L,)` their tokens.
        weights_L: `(L,)` factor of each token's loss; None means 1.
        smoothing: share of each target that is spread over the whole vocabulary.
        items: tokens to divide by: those of the whole (accumulated, distributed) batch; None means L.

    Returns:
        Scalar float32; exactly 0 with zero gradients where L = 0.
    """
    losses_L = functional.cross_entropy(
        logits_LV.float(), targets_L, reduction="none", label_smoothing=smoothing
    )
    if weights_L is not None:
        losses_L = losses_L * weights_L.to(losses_L)
    divisor = targets_L.shape[0] if items is None else items
    divisor = divisor.clamp(min=1).to(losses_L.device) if isinstance(divisor, Tensor) else max(divisor, 1)
    return losses_L.sum() / divisor
