"""Liger's kernels in a language model: norms, rotary positions and gated layers in one pass each."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

import torch

from mustela.config.training import TrainingArguments
from mustela.model import MustelaForConditionalGeneration

logger = logging.getLogger(__name__)

# Of the head and the loss, which mustela computes at supervised positions only.
_OWN = {"cross_entropy": False, "fused_linear_cross_entropy": False}


def wants_liger(training: TrainingArguments) -> bool:
    """Say whether Liger's kernels are to be used.

    Where `use_liger_kernel` leaves it open, they are used if they are installed and the training runs on a
    CUDA GPU; a compiled language model has kernels of its own.
    """
    if training.use_liger_kernel is not None:
        return training.use_liger_kernel
    return (
        not training.torch_compile
        and torch.device(training.device).type == "cuda"
        and importlib.util.find_spec("liger_kernel") is not None
    )


def use_liger_kernels(
    model: MustelaForConditionalGeneration, choices: Mapping[str, bool] | None = None
) -> bool:
    """Put Liger's kernels into a language model.

    Args:
        model: the model; its vision part stays.
        choices: which kernels (`rope`, `rms_norm`, `swiglu` ...); None: all that Liger has for its kind.

    Returns:
        Whether Liger knows the kind of language model; others stay as they are, with a warning.
    """
    patching: Any = importlib.import_module("liger_kernel.transformers.monkey_patch")
    decoder: Any = model.base.get_decoder()
    kind = decoder.config.model_type
    if kind not in patching.MODEL_TYPE_TO_APPLY_LIGER_FN:
        logger.warning("Liger has no kernels for language models of type %s: none are used.", kind)
        return False
    patching._apply_liger_kernel_to_instance(model=decoder, **{**(choices or {}), **_OWN})
    return True
