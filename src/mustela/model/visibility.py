"""Which token may see which, where one row holds more than one conversation.

Shape legend: B rows, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mustela.errors import ConfigError

_IMPLEMENTATIONS = ("sdpa", "eager")
_WINDOWED = "sliding_attention"


def visibility(
    config: Any,
    attention_mask_BT: Tensor,
    segments_BT: Tensor,
    position_ids_BT: Tensor,
    *,
    dtype: torch.dtype,
) -> Tensor | dict[str, Tensor]:
    """Return the attention mask of rows whose conversations don't see each other.

    A token sees what lies before it in its own segment and in segment 0, which all share.

    Args:
        config: of the language model.
        attention_mask_BT: 0 at padding.
        segments_BT: segment of each token.
        position_ids_BT: place of each token in its conversation; windows are counted in them.
        dtype: of the language model.

    Returns:
        `(B, 1, T, T)`: bool, true where a query (third axis) sees a key (fourth), or, for `eager` attention,
        what is added to the scores. By kind of layer where some see only a window.

    Raises:
        ConfigError: the attention takes no such mask.
    """
    implementation = config._attn_implementation
    if implementation not in _IMPLEMENTATIONS:
        raise ConfigError(
            f"separate_rounds needs attn_implementation sdpa or eager, not {implementation!r}:"
            " others take no mask of their own."
        )
    length = segments_BT.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=segments_BT.device).tril()
    keys, queries = segments_BT[:, None, :], segments_BT[:, :, None]
    seen = before & ((keys == 0) | (keys == queries)) & attention_mask_BT[:, None, :].bool()

    def finished(mask: Tensor) -> Tensor:
        # Padding sees itself, so that no softmax is empty.
        mask = (mask | torch.eye(length, dtype=torch.bool, device=mask.device))[:, None]
        if implementation == "sdpa":
            return mask
        return torch.where(mask, 0.0, torch.finfo(dtype).min).to(dtype)

    if _WINDOWED not in (getattr(config, "layer_types", None) or ()):
        return finished(seen)
    distance = position_ids_BT[:, :, None] - position_ids_BT[:, None, :]
    windowed = seen & (distance < config.sliding_window)
    return {"full_attention": finished(seen), _WINDOWED: finished(windowed)}
