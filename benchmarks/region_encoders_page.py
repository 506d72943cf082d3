"""The page that `benchmarks/region_encoders.py` writes: a table, an answer and a plot."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

Results: TypeAlias = Mapping[str, Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]]]
"""By variant and seed: accuracy and number of questions, by data set and slice."""

SLICES = ("all", "points", "free-form", "nested", "tiny", "large")
ASKED = ("free-form", "nested")
RIVALS = ("mean", "none")


def page(results: Results, settings: Mapping[str, Any], *, command: str, plot_file: str) -> str:
    """Return the results as a page of the documentation; `command` is how they were measured."""
    cells = f", then {settings['cell_steps']} steps on blood cells" if settings["cells"] else ""
    limit = f" At most {settings['questions']} questions of each data set." if settings["questions"] else ""
    about = (
        "The packaged model `shapes-base` with a region encoder of random numbers in place of its own,"
        f" tuned for {settings['max_steps']} steps of 8 pictures with all questions about a region of"
        f" {settings['pictures']:,} pictures of shapes{cells}; {settings['seeds']} seeds of what is drawn."
        f" {settings['points']} points a region, of which `geo` keeps {settings['sub_points']}. Every variant"
        " has the same questions, order and settings. Measured is the share of held-out questions about one"
        f" region whose answer is right to the letter.{limit} A question is *free-form* if its region is a"
        " scribble, polygon or mask; *nested* if another region that is asked about has almost the same box"
        " (IoU above 0.5) and isn't a point; *tiny* or *large* if its box covers less than 1 or more than 8 %"
        " of the picture. Without coordinates the question shows its region by region tokens alone; with"
        " `none` by coordinates alone, those of a free-form region's box."
    )
    parts = [
        "# Region encoders against each other",
        textwrap.fill(about, 115, break_long_words=False, break_on_hyphens=False),
        f"```bash\n{command}\n```",
        table(results),
        "## Does `geo` beat `mean` and `none`?",
        answer(results),
        f"![Right answers by encoder and kind of region]({plot_file})",
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def columns_of(results: Results) -> list[tuple[str, str]]:
    """Return the pairs of data set and slice that any run has."""
    found = {(data, name) for runs in results.values() for run in runs for data in run for name in run[data]}
    return sorted(found, key=lambda pair: (pair[0] != "shapes", SLICES.index(pair[1])))


def values_of(results: Results, variant: str, data: str, part: str) -> list[float]:
    """Return the accuracies of a variant, one a seed."""
    return [run[data][part]["accuracy"] for run in results[variant] if part in run.get(data, {})]


def table(results: Results) -> str:
    """Return the Markdown table: mean and range over seeds."""
    columns = columns_of(results)
    first = next(iter(results.values()))[0]
    heads = [
        f"{data}: {name} ({first.get(data, {}).get(name, {'questions': 0})['questions']})"
        for data, name in columns
    ]
    lines = [
        "Share of right answers: mean, and range over seeds; numbers of questions in brackets.",
        "",
        "| encoder | " + " | ".join(heads) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in results:
        cells = [spread(values_of(results, name, data, part)) for data, part in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Return mean and range."""
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def answer(results: Results) -> str:
    """Say whether `geo` beats `mean` and `none` on free-form and nested regions, with one token a region.

    Seeds are compared in pairs: "yes" if it is better with every seed, "no" if with none, else "not clear".
    """
    lines = [
        "On shapes, one token a region. Better with every seed: *yes*; with none: *no*; else *not clear*.",
        "",
        "| regions | geo | against | | by | better? |",
        "|---|---|---|---|---|---|",
    ]
    for part in ASKED:
        for suffix in ("", ", no coordinates"):
            ours = values_of(results, "geo" + suffix, "shapes", part) if "geo" + suffix in results else []
            for rival in RIVALS:
                name = rival + suffix
                theirs = values_of(results, name, "shapes", part) if name in results else []
                if not ours or not theirs:
                    continue
                gains = [a - b for a, b in zip(ours, theirs, strict=True)]
                better = sum(gain > 0 for gain in gains)
                verdict = "yes" if better == len(gains) else "not clear" if better else "no"
                by = f"{statistics.mean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})"
                lines.append(
                    f"| {part}{suffix} | {spread(ours)} | {rival} | {spread(theirs)} | {by} | {verdict} |"
                )
    if len(lines) == 4:
        return "Not measured: `geo` and at least one of `mean` and `none` are needed.\n"
    return "\n".join(lines) + "\n"


def plot(results: Results) -> str:
    """Return an SVG: a row a variant, a panel a slice; a dot a seed, a bar the mean."""
    columns, left, panel, row, top = columns_of(results), 210, 110, 18, 40
    width, height = left + panel * len(columns) + 10, top + row * len(results) + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="10"><rect width="100%" height="100%" fill="white"/>'
    ]
    for index, (data, part) in enumerate(columns):
        x0 = left + panel * index
        out.append(f'<text x="{x0}" y="16">{data}</text><text x="{x0}" y="29">{part}</text>')
        for line, name in enumerate(results):
            y = top + row * line
            values = values_of(results, name, data, part)
            if not values:
                continue
            mean = statistics.mean(values) * (panel - 20)
            out.append(f'<rect x="{x0}" y="{y}" width="{mean:.1f}" height="11" fill="#9db8e8"/>')
            out += [
                f'<circle cx="{x0 + value * (panel - 20):.1f}" cy="{y + 5.5}" r="2" fill="#1d3f8a"/>'
                for value in values
            ]
        base = top + row * len(results)
        out.append(f'<path d="M{x0} {top - 4}V{base}H{x0 + panel - 20}" fill="none" stroke="#888"/>')
        out.append(
            f'<text x="{x0}" y="{base + 12}">0</text><text x="{x0 + panel - 24}" y="{base + 12}">1</text>'
        )
    out += [
        f'<text x="{left - 8}" y="{top + row * line + 9}" text-anchor="end">{escape(name)}</text>'
        for line, name in enumerate(results)
    ]
    return "\n".join([*out, "</svg>"]) + "\n"
