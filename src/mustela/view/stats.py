"""Statistics of data files, as text and as a page with plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mustela.data.inspection import Inspection
from mustela.data.survey import Survey
from mustela.pages import render_page
from mustela.view.page import PAGE

_TOP = 20


def stats_text(inspection: Inspection) -> str:
    """Return the statistics as text, one block a file."""
    blocks = []
    for report, survey in zip(inspection.reports, inspection.surveys, strict=True):
        lines = [report.format, f"{report.path}:"]
        lines += [f"  {name:<24}{value}" for name, value in _figures(survey)]
        for title, bars in _charts(survey):
            lines.append(f"  {title}")
            top = max((count for _, count in bars), default=1)
            for name, count in bars[:_TOP]:
                lines.append(f"    {name[:28]:<28} {count:>8} {'█' * round(30 * count / top)}")
        blocks.append("\n".join(line for line in lines if line))
    return "\n\n".join(blocks)


def stats_page(inspection: Inspection, *, title: str) -> str:
    """Return a self-contained page with the statistics of each file and what is suspicious."""
    files = [
        {
            "path": report.path,
            "format": report.format,
            "tiles": _figures(survey),
            "faults": sum(entry.count for entry in report.faults.values()),
            "charts": [
                {"title": chart, "bars": _shares(bars[:_TOP]), "more": max(0, len(bars) - _TOP)}
                for chart, bars in _charts(survey)
            ],
        }
        for report, survey in zip(inspection.reports, inspection.surveys, strict=True)
    ]
    suspicions = [str(each) for each in inspection.suspicions]
    return render_page(PAGE, "stats.html.jinja", title=title, files=files, suspicions=suspicions)


def _figures(survey: Survey) -> list[tuple[str, str]]:
    regions = sum(survey.regions.values())
    turns = sum(number * count for number, count in survey.turns.items())
    figures = [
        ("records", f"{survey.records:,}"),
        ("pictures", f"{len(survey.pictures):,}"),
        ("questions", f"{turns // 2:,}"),
        ("regions", f"{regions:,}"),
        ("different answers", f"{len(survey.answers):,}"),
    ]
    if survey.records:
        figures.append(("regions a record", f"{regions / survey.records:.1f}"))
    return figures


def _charts(survey: Survey) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return the charts that have anything to show."""
    sizes = Counter({f"{width} x {height}": count for (width, height), count in survey.sizes.items()})
    shares = [(f"{10 * bin_} to {10 * bin_ + 10} %", survey.box_shares[bin_]) for bin_ in range(10)]
    charts = [
        ("Short answers", survey.classes.most_common()),
        ("Kinds of regions", survey.regions.most_common()),
        ("Regions a record", _sorted(survey.regions_a_record)),
        ("Longer side of regions, pixels up to", _sorted(survey.box_sides)),
        ("Side of boxes, share of the picture's", shares if survey.box_shares else []),
        ("Sizes of pictures", sizes.most_common()),
        ("Turns a record", _sorted(survey.turns)),
        ("Characters a record, up to", _sorted(survey.lengths)),
        ("Tokens a record, up to", _sorted(survey.tokens)),
    ]
    return [(title, bars) for title, bars in charts if bars]


def _sorted(counts: Counter[int]) -> list[tuple[str, int]]:
    return [(str(value), counts[value]) for value in sorted(counts)]


def _shares(bars: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    top = max((count for _, count in bars), default=1) or 1
    return [{"name": name, "count": count, "share": round(100 * count / top, 1)} for name, count in bars]
