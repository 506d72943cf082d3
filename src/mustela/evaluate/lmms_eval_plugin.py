"""How lmms-eval finds mustela: the entry point of the group `lmms_eval.models`."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Return lmms-eval's manifest of the model `mustela`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="mustela", simple_class_path="mustela.evaluate.lmms_eval_model.Mustela")
