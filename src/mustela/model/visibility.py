"""Which token may see which, where one row holds more than one conversation.

`segments (B, T, 2)` says for each token its document and its branch. A token sees what lies before it in its
own document, and there in branch 0, which all share, and in its own branch. A packed row has several
documents; rounds apart are branches of one. Padding is in document -1.
Shape legend: B rows, T tokens, K tokens of all rows without padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mustela.constants import IGNORE_INDEX
from mustela.errors import ConfigError, CountMismatchError
from mustela.model.classic_config import ClassicConfig

_MASKED = ("sdpa", "eager")
_VARLEN = "flash_attention"
_WINDOWED = "sliding_attention"
_KINDS_OF_LAYERS = {"full_attention", _WINDOWED}


def check_takes_segments(base: PreTrainedModel, *, branches: bool) -> None:
    """Make sure that a base can keep the conversations of a row apart.

    Args:
        base: the base.
        branches: conversations may share a beginning, as rounds apart do.

    Raises:
        ConfigError: it, a kind of its layers or its attention can't.
    """
    kind = base.config.model_type
    if kind != ClassicConfig.model_type:
        raise ConfigError(
            "packing and separate_rounds work for the composition of --vision_tower and a language model; the"
            f" base is of type {kind}, whose positions or masks follow its pictures. Leave it out."
        )
    config: Any = base.config.get_text_config()
    others = set(config.to_dict().get("layer_types") or ()) - _KINDS_OF_LAYERS
    if others:
        raise ConfigError(
            f"packing and separate_rounds: the language model has layers of kind {', '.join(sorted(others))},"
            " which would carry one conversation's state into the next. Leave it out."
        )
    implementation = config._attn_implementation
    if implementation in _MASKED or (is_varlen(base) and not branches):
        return
    needed = "separate_rounds needs attn_implementation sdpa or eager"
    if not branches:
        needed = "packing needs attn_implementation sdpa, eager or flash_attention_2"
    raise ConfigError(f"{needed}, not {implementation!r}: others take no mask of their own.")


def is_varlen(base: PreTrainedModel) -> bool:
    """Say whether a base's attention tells conversations apart by positions, in a row without padding."""
    config: Any = base.config.get_text_config()
    return _VARLEN in config._attn_implementation


def visibility(
    base: PreTrainedModel, attention_mask_BT: Any, segments_BT2: Tensor, position_ids_BT: Tensor | None
) -> Tensor | dict[str, Tensor]:
    """Return the attention mask of rows whose conversations don't see each other.

    Args:
        base: what the mask is for.
        attention_mask_BT: 0 at padding.
        segments_BT2: document and branch of each token.
        position_ids_BT: place of each token in its conversation; windows are counted in them.

    Returns:
        `(B, 1, T, T)`: bool, true where a query (third axis) sees a key (fourth), or, for `eager` attention,
        what is added to the scores. By kind of layer where some see only a window.

    Raises:
        ConfigError: the base or its attention takes no such mask.
        CountMismatchError: positions or the mask of the padding are missing.
    """
    check_takes_segments(base, branches=True)
    if attention_mask_BT is None or position_ids_BT is None:
        raise CountMismatchError("A batch with segments needs attention_mask and position_ids too.")
    config: Any = base.config.get_text_config()
    implementation = config._attn_implementation
    length = segments_BT2.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=segments_BT2.device).tril()
    document, branch = segments_BT2.unbind(-1)
    own = document[:, None, :] == document[:, :, None]
    shared = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen = before & own & shared & attention_mask_BT[:, None, :].bool()

    def finished(mask: Tensor) -> Tensor:
        # Padding sees itself, so that no softmax is empty.
        mask = (mask | torch.eye(length, dtype=torch.bool, device=mask.device))[:, None]
        if implementation == "sdpa":
            return mask
        return torch.where(mask, 0.0, torch.finfo(base.dtype).min).to(base.dtype)

    if _WINDOWED not in (config.to_dict().get("layer_types") or ()):
        return finished(seen)
    distance = position_ids_BT[:, :, None] - position_ids_BT[:, None, :]
    windowed = seen & (distance < config.sliding_window)
    return {"full_attention": finished(seen), _WINDOWED: finished(windowed)}


def flatten_rows(
    segments_BT2: Tensor, attention_mask_BT: Tensor, sequences: dict[str, Tensor | None]
) -> dict[str, Tensor | None]:
    """Put the rows of a batch behind one another, without padding.

    Attention of varying lengths finds the documents where positions start anew. What a row begins with has no
    label afterwards, as something else now lies before it.

    Args:
        segments_BT2: document and branch of each token.
        attention_mask_BT: 0 at padding.
        sequences: `(B, T)` each; None stays None.

    Returns:
        The same, `(1, K)` each.

    Raises:
        ConfigError: a document has branches.
    """
    if bool((segments_BT2[..., 1] > 0).any()):
        raise ConfigError(
            "separate_rounds needs attn_implementation sdpa or eager: positions don't tell rounds apart."
        )
    kept = attention_mask_BT.bool()
    labels = sequences.get("labels")
    if labels is not None:
        labels = labels.clone()
        labels[:, 0] = IGNORE_INDEX
        sequences = {**sequences, "labels": labels}
    return {name: None if each is None else each[kept][None] for name, each in sequences.items()}
