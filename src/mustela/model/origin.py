"""Where a model's weights come from: what an adapter is trained on and needs again to be loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mustela.errors import CheckpointError
from mustela.model.modeling import MustelaForConditionalGeneration

_PROBED = 16

Kind = Literal["mustela", "ready", "classic"]


@dataclass(frozen=True)
class Origin:
    """The base of a model.

    Attributes:
        kind: `mustela`: a model of mustela; `ready`: an image-text-to-text model of transformers; `classic`:
            a language model and a vision tower.
        model: folder or name of the model or language model.
        vision_tower: folder or name of the vision tower; only of `classic`.
        rows: rows of its input embedding before tokens were added.
        probe: values of its input embedding, to tell it from another model of the same shape.
    """

    kind: Kind
    model: str
    vision_tower: str | None
    rows: int
    probe: tuple[float, ...]

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Return plain values for a file in `folder`; paths also as seen from there."""
        return {
            "kind": self.kind,
            "model": _described(self.model, folder),
            "vision_tower": None if self.vision_tower is None else _described(self.vision_tower, folder),
            "rows": self.rows,
            "probe": list(self.probe),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: Path) -> Origin:
        """Read what `to_json` wrote, from a file in `folder`, which may have been moved."""
        tower = content["vision_tower"]
        return cls(
            kind=content["kind"],
            model=_located(content["model"], folder),
            vision_tower=None if tower is None else _located(tower, folder),
            rows=int(content["rows"]),
            probe=tuple(content["probe"]),
        )


def origin_of(
    model: MustelaForConditionalGeneration,
    kind: Kind,
    name: str | Path,
    vision_tower: str | Path | None,
    *,
    rows: int | None = None,
) -> Origin:
    """Describe where a model came from, before anything in it changes.

    Args:
        model: as loaded, without adapters.
        kind: see `Origin`.
        name: folder or name of the model or language model.
        vision_tower: folder or name, or None.
        rows: rows of its input embedding before tokens were added; None: none were.
    """
    weight: Any = model.get_input_embeddings().weight
    rows = int(weight.shape[0]) if rows is None else rows
    tower = None if vision_tower is None else str(vision_tower)
    return Origin(kind, str(name), tower, rows, probe(weight, rows))


def probe(embedding: Tensor, rows: int) -> tuple[float, ...]:
    """Return a few values of an input embedding `(V, D)`, of its first `rows` rows."""
    step = max(1, rows // _PROBED)
    values = embedding.detach()[:rows:step, 0][:_PROBED].float().tolist()
    return tuple(round(value, 6) for value in values)


def check_origin(expected: Origin, found: Origin, *, who: str) -> None:
    """Make sure that a base is the one that an adapter was trained on.

    Raises:
        CheckpointError: another vocabulary (naming both sizes) or other weights.
    """
    if expected.rows != found.rows:
        raise CheckpointError(
            f"{who} was trained on a base with {expected.rows} tokens, but {found.model} has {found.rows}. "
            f"Give the base that it was trained on ({expected.model}) with --base."
        )
    # Half-precision numbers differ from the full ones in the third digit.
    off = [abs(a - b) > 0.02 * abs(a) + 1e-4 for a, b in zip(expected.probe, found.probe, strict=True)]
    if any(off):
        raise CheckpointError(
            f"{who} was trained on another model than {found.model}: their embeddings differ. "
            f"Give the base that it was trained on ({expected.model}) with --base."
        )


def looks_local(name: str) -> bool:
    """Tell a path from a name on the Hub, which has one slash at most and no dots in front."""
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1


def _described(name: str, folder: Path) -> dict[str, str]:
    path = Path(name)
    if not path.is_dir():
        return {"name": name}
    path = path.resolve()
    return {"name": str(path), "from_here": os.path.relpath(path, folder.resolve())}


def _located(content: Mapping[str, str], folder: Path) -> str:
    if not Path(content["name"]).is_dir() and "from_here" in content:
        moved_along = folder.resolve() / content["from_here"]
        if (moved_along / "config.json").is_file():
            return str(moved_along.resolve())
    return content["name"]
