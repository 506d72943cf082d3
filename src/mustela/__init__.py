"""mustela: train, evaluate and use region-level vision-language models.

The names below are loaded on first use, so that `import mustela` stays fast and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mustela.data import Record, RegionAnnotation, Turn, read_records
    from mustela.data.processor import MustelaProcessor
    from mustela.errors import MustelaError
    from mustela.infer import Answer, Predictor
    from mustela.model import MustelaConfig, MustelaForConditionalGeneration, load_model
    from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble

__version__ = "0.1.0.dev0"

__all__ = [
    "Answer",
    "Box",
    "Mask",
    "MustelaConfig",
    "MustelaError",
    "MustelaForConditionalGeneration",
    "MustelaProcessor",
    "Point",
    "Polygon",
    "Predictor",
    "Record",
    "Region",
    "RegionAnnotation",
    "Scribble",
    "Turn",
    "__version__",
    "load_model",
    "read_records",
]

_HOME = {
    "Answer": "mustela.infer",
    "Box": "mustela.regions",
    "Mask": "mustela.regions",
    "MustelaConfig": "mustela.model",
    "MustelaError": "mustela.errors",
    "MustelaForConditionalGeneration": "mustela.model",
    "MustelaProcessor": "mustela.data.processor",
    "Point": "mustela.regions",
    "Polygon": "mustela.regions",
    "Predictor": "mustela.infer",
    "Record": "mustela.data",
    "Region": "mustela.regions",
    "RegionAnnotation": "mustela.data",
    "Scribble": "mustela.regions",
    "Turn": "mustela.data",
    "load_model": "mustela.model",
    "read_records": "mustela.data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
