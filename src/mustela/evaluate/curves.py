"""Training curves from a run's `log.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mustela.evaluate.charts import WIDE, Series, Span, line_chart, smoothed

_ACCURACIES = ("_accuracy", "_acc_50", "_rate", "_r_1", "_semantic_iou", "_meteor", "_ap")


@dataclass(frozen=True)
class Curves:
    """Charts of a run as SVG; empty strings where the log has nothing to draw."""

    loss: str
    accuracy: str
    learning_rate: str
    learning_rate_wide: str
    steps: int

    def __bool__(self) -> bool:
        """Whether there is any chart."""
        return bool(self.loss or self.accuracy or self.learning_rate)


def read_curves(log: str | Path) -> Curves:
    """Return the charts of a log: one JSON object a line with `step`, numbers, and `stage` in runs of several
    stages.

    The steps of later stages follow those of earlier ones. Lines that can't be read, as a killed run leaves
    them, are left out; without the file the charts are empty.
    """
    entries = _entries(Path(log))
    spans = _follow_on(entries)
    shown = spans if len(spans) > 1 else []
    steps = int(max((float(entry["_x"]) for entry in entries), default=0))
    losses = _series(entries, ["loss"])
    if losses:
        smooth = smoothed(losses[0].ys, window=max(1, len(losses[0].ys) // 40))
        raw = losses[0]
        losses = [Series("training", raw.xs, raw.ys, faint=True), Series("training", raw.xs, list(smooth))]
    losses += [Series("held out", line.xs, line.ys) for line in _series(entries, ["eval_loss"])]
    names = sorted({name for entry in entries for name in entry if _is_accuracy(name)})
    accuracies = [Series(_readable(line.name), line.xs, line.ys) for line in _series(entries, names)]
    rates = _series(entries, ["learning_rate"])
    return Curves(
        loss=line_chart(losses, title="Loss", x_label="step", spans=shown),
        accuracy=line_chart(accuracies, title="Held-out scores", x_label="step", spans=shown, percent=True),
        learning_rate=_rate_chart(rates, shown, size=(560, 200)),
        learning_rate_wide=_rate_chart(rates, shown, size=WIDE),
        steps=steps,
    )


def _rate_chart(rates: Sequence[Series], spans: Sequence[Span], *, size: tuple[int, int]) -> str:
    lines = [Series("learning rate", line.xs, line.ys) for line in rates]
    return line_chart(lines, title="Learning rate", x_label="step", spans=spans, size=size)


def _entries(log: Path) -> list[dict[str, Any]]:
    if not log.is_file():
        return []
    entries: list[dict[str, Any]] = []
    for line in log.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int | float):
            entries.append(entry)
    return entries


def _follow_on(entries: Sequence[dict[str, Any]]) -> list[Span]:
    """Give every entry its place `_x` on one axis of steps; return the stages as spans of it."""
    spans: list[Span] = []
    offset = 0.0
    stage: Any = None
    start = last = 0.0
    for number, entry in enumerate(entries):
        if number and entry.get("stage") != stage:
            spans.append(Span(start, offset + last, str(stage or "")))
            offset = start = offset + last
            last = 0.0
        stage = entry.get("stage")
        last = max(last, float(entry["step"]))
        entry["_x"] = offset + float(entry["step"])
    if entries:
        spans.append(Span(start, offset + last, str(stage or "")))
    return spans


def _series(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Series]:
    lines: list[Series] = []
    for name in names:
        points = [(float(e["_x"]), float(e[name])) for e in entries if isinstance(e.get(name), int | float)]
        if points:
            lines.append(Series(name, [x for x, _ in points], [y for _, y in points]))
    return lines


def _is_accuracy(name: str) -> bool:
    return name.startswith("eval_") and name.endswith(_ACCURACIES) and "macro" not in name


def _readable(name: str) -> str:
    words = name.removeprefix("eval_").removesuffix("_accuracy").replace("_acc_50", "").replace("_", " ")
    return "answers without a box" if words == "parse failure rate" else words
