"""Which token may see which, where one row holds more than one conversation.

Shape legend: B rows, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mustela.errors import ConfigError, CountMismatchError
from mustela.model.classic_config import ClassicConfig

_IMPLEMENTATIONS = ("sdpa", "eager")
_WINDOWED = "sliding_attention"


def visibility(
    base: PreTrainedModel, attention_mask_BT: Any, segments_BT: Tensor, position_ids_BT: Tensor | None
) -> Tensor | dict[str, Tensor]:
    """Return the attention mask of rows whose conversations don't see each other.

    A token sees what lies before it in its own segment and in segment 0, which all share.

    Args:
        base: what the mask is for.
        attention_mask_BT: 0 at padding.
        segments_BT: segment of each token.
        position_ids_BT: place of each token in its conversation; windows are counted in them.

    Returns:
        `(B, 1, T, T)`: bool, true where a query (third axis) sees a key (fourth), or, for `eager` attention,
        what is added to the scores. By kind of layer where some see only a window.

    Raises:
        ConfigError: the base or its attention takes no such mask.
        CountMismatchError: positions or the mask of the padding are missing.
    """
    kind = base.config.model_type
    if kind != ClassicConfig.model_type:
        raise ConfigError(
            "separate_rounds works for the composition of --vision_tower and a language model; the base"
            f" is of type {kind}, whose positions or masks follow its pictures. Leave it out."
        )
    if attention_mask_BT is None or position_ids_BT is None:
        raise CountMismatchError("A batch with segments needs attention_mask and position_ids too.")
    config: Any = base.config.get_text_config()
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
        return torch.where(mask, 0.0, torch.finfo(base.dtype).min).to(base.dtype)

    if _WINDOWED not in (getattr(config, "layer_types", None) or ()):
        return finished(seen)
    distance = position_ids_BT[:, :, None] - position_ids_BT[:, None, :]
    windowed = seen & (distance < config.sliding_window)
    return {"full_attention": finished(seen), _WINDOWED: finished(windowed)}
