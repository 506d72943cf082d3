"""Arguments of a run, recipes and flags. Only `TrainingArguments`, when asked for, imports torch."""

from typing import TYPE_CHECKING, Any

from mustela.config.arguments import DataArguments, ModelArguments
from mustela.config.resolve import RunSettings, StageSettings, resolve
from mustela.config.source import preset_names, read_recipe

if TYPE_CHECKING:
    from mustela.config.training import TrainingArguments

__all__ = [
    "DataArguments",
    "ModelArguments",
    "RunSettings",
    "StageSettings",
    "TrainingArguments",
    "preset_names",
    "read_recipe",
    "resolve",
]


def __getattr__(name: str) -> Any:
    if name == "TrainingArguments":
        from mustela.config.training import TrainingArguments

        return TrainingArguments
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
