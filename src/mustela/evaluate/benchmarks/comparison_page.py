"""The page that compares evaluations on benchmarks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from mustela.errors import ConfigError
from mustela.evaluate.benchmarks.comparison import (
    Difference,
    Result,
    difference,
    disagreements,
    group_results,
    read_result,
)
from mustela.evaluate.gallery import Card, make_card
from mustela.evaluate.matching import IOU_CONVENTION
from mustela.evaluate.page import PAGE
from mustela.pages import render_page, write_page

_CLASSES = 25
_NEUTRAL = frozenset({"yes_share"})  # best where it is the share of true yes
_TO = "\N{EN DASH}"
_KEY = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")  # a figure's name in a note


@dataclass(frozen=True)
class Cell:
    """A figure of a run as the page shows it."""

    value: str
    interval: str
    change: str
    better: str
    title: str
    significant: bool = False


def write_benchmark_comparison(
    folders: Sequence[str | Path],
    *,
    out: str | Path,
    names: Sequence[str] | None = None,
    root: str | Path | None = None,
    title: str = "Benchmarks side by side",
    pictures: int = 12,
    seed: int = 0,
) -> Path:
    """Write one self-contained page that compares evaluations, and return its path.

    Args:
        folders: what `mustela evaluate --benchmark` left; differences are to the first of a benchmark.
        out: the page.
        names: how to call the runs; their folders' names, less benchmark and split, when None.
        root: where the pictures are, if not where they were asked about.
        title: heading.
        pictures: most pictures of each pair of runs.
        seed: of the bootstrap.

    Raises:
        ConfigError: a folder is incomplete, or the same benchmark was asked with other questions.
    """
    if names is not None and len(names) != len(folders):
        raise ConfigError(f"{len(names)} names for {len(folders)} evaluations.")
    called: Sequence[str | None] = names or [None] * len(folders)
    results = [read_result(folder, name=name) for folder, name in zip(folders, called, strict=True)]
    sections = [_section(same, root=root, pictures=pictures, seed=seed) for same in group_results(results)]
    lead = f"{len(results)} evaluations of {len(sections)} benchmark{'s' if len(sections) > 1 else ''}."
    html = render_page(
        PAGE,
        "benchmarks.html.jinja",
        title=title,
        lead=lead,
        footer=", ".join(str(result.folder) for result in results),
        sections=sections,
        iou_convention=IOU_CONVENTION,
    )
    return write_page(out, html)


def _section(same: Sequence[Result], *, root: str | Path | None, pictures: int, seed: int) -> dict[str, Any]:
    first = same[0]
    figures = [
        {
            "name": readable_figure(name),
            "main": name == first.main,
            "cells": [_figure(first, other, name, seed) for other in same],
        }
        for name in first.metrics["figures"]
        if all(name in other.metrics["figures"] for other in same)
    ]
    failures = [_plain(other.metrics["parse_failure_rate"]) for other in same]
    return {
        "anchor": f"{first.key[0]}-{first.key[1]}".replace(" ", "-"),
        "title": f"{first.metrics['title']}, {first.key[1]}",
        "questions": first.metrics["questions"],
        "pictures": first.metrics["pictures"],
        "runs": [
            {"name": other.name, "prompt": other.metrics["prompt"], "ids": _odd_ids(other)} for other in same
        ],
        "figures": [*figures, {"name": "parse failures", "main": False, "cells": failures}],
        "groups": _groups(same),
        "galleries": _galleries(same, root=root, pictures=pictures),
        "notes": [_KEY.sub(lambda key: readable_figure(key[0]), note) for note in first.metrics["notes"]],
    }


def readable_figure(name: str) -> str:
    """Return a figure's name as papers write it: `acc_50_best` is "Acc@0.5 best", `any_r_5` "any R@5"."""
    named = re.sub(r"acc_(\d\d)", lambda match: f"Acc@{int(match[1]) / 100:g}", name)
    named = re.sub(r"(?<![a-z])r_(\d+)", r"R@\1", named)
    return named.replace("_", " ").replace("iou", "IoU")


def _figure(first: Result, other: Result, name: str, seed: int) -> Cell:
    found = other.metrics["figures"][name]
    plain = _plain(found)
    if other is first:
        return plain
    delta = difference(first, other, name, seed=seed)
    scale, digits = (1, 3) if found.get("unit") == "points" else (100, 1)
    # No colour for what rounds to nothing, nor for what is neither better nor worse.
    coloured = delta.significant and round(scale * delta.change, digits) and name not in _NEUTRAL
    return replace(
        plain,
        change=f"{scale * delta.change:+.{digits}f}",
        better=("up" if delta.change > 0 else "down") if coloured else "",
        title=_test(delta, scale, digits),
        significant=delta.significant,
    )


def _test(delta: Difference, scale: int, digits: int) -> str:
    if delta.paired is None:
        return "not tested: fewer than 10 pictures, or no mean over questions"
    low, high = (f"{scale * value:+.{digits}f}" for value in (delta.paired.low, delta.paired.high))
    return f"{low} to {high}, p {'< 0.001' if delta.paired.p <= 0.001 else f'= {delta.paired.p:.3f}'}"


def _plain(found: dict[str, Any]) -> Cell:
    if found.get("unit") == "points":
        value, bounds = f"{found['value']:.3f}", f"{found['low']:.3f} {_TO} {found['high']:.3f}"
    else:
        value, bounds = (
            f"{100 * found['value']:.1f}%",
            f"{100 * found['low']:.1f} {_TO} {100 * found['high']:.1f}",
        )
    return Cell(value, bounds if found["interval"] != "none" else "-", "", "", f"n = {found['n']}")


def _odd_ids(result: Result) -> str:
    ids = result.metrics["ids"]
    return ", ".join(f"{ids[key]} {key}" for key in ("missing", "duplicates", "unknown") if ids[key])


def _groups(same: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the main figure by box size, class ...; of classes the most frequent."""
    tables = []
    for title, groups in same[0].metrics["groups"].items():
        ranked = sorted(groups, key=lambda name: (-groups[name]["n"], name))
        rows = [
            {
                "name": name,
                "n": groups[name]["n"],
                "cells": [_plain(other.metrics["groups"][title][name]) for other in same],
            }
            for name in ranked[:_CLASSES]
            if all(name in other.metrics["groups"].get(title, {}) for other in same)
        ]
        if len(rows) > 1:
            tables.append({"title": title, "rows": rows, "more": max(0, len(ranked) - _CLASSES)})
    return tables


def _galleries(same: Sequence[Result], *, root: str | Path | None, pictures: int) -> list[dict[str, Any]]:
    """Return for each ordered pair of runs what one has right and the other wrong."""
    found = []
    for right, wrong in permutations(same, 2):
        names = disagreements(right, wrong)
        step = max(1, len(names) // pictures) if pictures else 1
        shown = names[::step][:pictures]
        cards = [_card(right, wrong, name, root=root) for name in shown]
        found.append({"right": right.name, "wrong": wrong.name, "count": len(names), "cards": cards})
    return [part for part in found if part["cards"]]


def _card(right: Result, wrong: Result, name: str, *, root: str | Path | None) -> Card:
    card = make_card(
        right.predictions[name], image_folder=root or right.root, earlier=wrong.predictions[name]
    )
    return replace(card, right=True, earlier_right=False)
