"""What a conversion did, for people and for the folder."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from mustela.convert.plan import Plan

__all__ = ["REPORT", "Conversion", "write_report"]

REPORT = "conversion.json"


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        folder: the new model.
        counts: tensors by how they were made.
        ignored: names that weren't needed, with the reason.
        settings: what the new model's configuration says of the original.
    """

    folder: Path
    counts: Mapping[str, int]
    ignored: Mapping[str, str]
    settings: Mapping[str, Any]

    def text(self) -> str:
        """Return the summary that the command prints."""
        lines = [f"{self.folder}: {sum(self.counts.values())} tensors"]
        lines += [f"  {count:5} {how}" for how, count in self.counts.items()]
        lines += [f"  {count:5} not needed: {why}" for why, count in Counter(self.ignored.values()).items()]
        lines += [f"  {key}: {value}" for key, value in self.settings.items()]
        return "\n".join([*lines, f"Which tensor went where: {self.folder / REPORT}"])


def write_report(
    part: Path, plan: Plan, *, folder: Path, asked: Mapping[str, Any], settings: Mapping[str, Any]
) -> Conversion:
    """Write the report into the folder that is being made, and return it.

    Args:
        part: the folder that is being filled.
        plan: what was done.
        folder: its name in the end.
        asked: what the conversion was called with.
        settings: what was read from the original's configuration.
    """
    counts = Counter(step.how for step in plan.steps)
    content = {
        "asked": {key: str(value) if isinstance(value, Path) else value for key, value in asked.items()},
        "settings": dict(settings),
        "tensors": {
            step.name: {
                "from": list(step.sources),
                "how": step.how,
                "shape": list(step.shape),
                "dtype": str(step.dtype).removeprefix("torch."),
            }
            for step in plan.steps
        },
        "not_needed": plan.ignored,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    (part / REPORT).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Conversion(folder, dict(counts), dict(plan.ignored), dict(settings))
