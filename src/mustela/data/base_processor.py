"""The processor of a base, with a tokenizer that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from mustela.data.tokenizer import load_tokenizer, sentencepiece_only
from mustela.errors import MissingExtraError


def load_base_processor(folder: str | Path, **kwargs: Any) -> Any:
    """Load the processor of a base.

    Args:
        folder: folder or name.
        kwargs: passed to `AutoProcessor.from_pretrained`.

    Raises:
        MissingExtraError: it needs a package that isn't installed.
    """
    try:
        processor = AutoProcessor.from_pretrained(folder, **kwargs)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(
            f"the processor of {folder} needs a package that isn't installed; where it also reads videos,"
            f" that is torchvision: pip install torchvision (the import said: {reason})"
        ) from error
    cache_dir = kwargs.get("cache_dir")
    if sentencepiece_only(folder, cache_dir=cache_dir) is not None:
        processor.tokenizer = load_tokenizer(folder, cache_dir=cache_dir)
    return processor
