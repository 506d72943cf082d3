"""Fingerprints: short names for the weights and the questions of an evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import nn

from mustela.data.native import record_to_native
from mustela.evaluate.questions import Question

_SAMPLES = 256
_LENGTH = 16


def model_fingerprint(model: nn.Module) -> str:
    """Return a name of the model's weights.

    256 values of every parameter, evenly spread, with names and shapes.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        flat = parameter.detach().flatten()
        step = max(1, flat.numel() // _SAMPLES)
        values = flat[::step][:_SAMPLES].to(device="cpu", dtype=torch.float32).contiguous()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:_LENGTH]


def questions_fingerprint(questions: Sequence[Question]) -> str:
    """Return a name of the questions.

    Their ids, texts, regions and pictures' paths and sizes, in their order.
    """
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(record_to_native(question.record), sort_keys=True).encode())
    return digest.hexdigest()[:_LENGTH]
