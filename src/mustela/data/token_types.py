"""What some bases are told of each token: that it is of a picture, or of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers import Gemma3Processor, PaliGemmaProcessor

from mustela.constants import IGNORE_INDEX


def token_types(base_processor: Any, sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the kinds of a sample's tokens under the name that the base knows them by, if it does.

    Args:
        base_processor: the base's.
        sample: `input_ids` and `labels` `(T,)`.

    Returns:
        `mm_token_type_ids`, for Gemma 3 `token_type_ids`: 1 at tokens of pictures. For PaliGemma
        `token_type_ids`: 1 from the first answer on, as it reads all that is before in both directions.
    """
    ids = sample["input_ids"]
    if isinstance(base_processor, PaliGemmaProcessor):
        answers = sample["labels"] != IGNORE_INDEX
        return {"token_type_ids": (answers.cumsum(0) > 0).long()}
    name = _name_of_kinds(base_processor)
    if name is None:
        return {}
    return {name: torch.isin(ids, torch.tensor(base_processor.image_token_ids)).long()}


@lru_cache(maxsize=16)
def _name_of_kinds(base_processor: Any) -> str | None:
    if isinstance(base_processor, Gemma3Processor):
        return "token_type_ids"
    return "mm_token_type_ids" if "mm_token_type_ids" in base_processor.model_input_names else None
