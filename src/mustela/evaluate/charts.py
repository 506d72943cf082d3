"""Line charts as inline SVG.

Colours come from the page's style sheet through class names, so they follow its theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 400
COLORS = 8
DASHES = 4
WIDE = (1140, 170)
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 22, 30


@dataclass(frozen=True)
class Series:
    """A named line: points (xs[i], ys[i]), xs ascending.

    `faint` lines are the raw values behind a smooth one.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    faint: bool = False


@dataclass(frozen=True)
class Span:
    """A named stretch of the x axis, such as a stage of training."""

    start: float
    end: float
    name: str


@dataclass(frozen=True)
class _Axes:
    x0: float
    x1: float
    ticks: tuple[float, ...]
    percent: bool
    size: tuple[int, int]

    @property
    def right(self) -> int:
        return self.size[0] - _RIGHT

    @property
    def floor(self) -> int:
        return self.size[1] - _BOTTOM

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return self.floor - share * (self.floor - _TOP)

    def text(self, value: float) -> str:
        return f"{value:.0%}" if self.percent else f"{value:.3g}"


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    spans: Sequence[Span] = (),
    percent: bool = False,
    size: tuple[int, int] = (560, 260),
) -> str:
    """Return an SVG line chart with a legend, or an empty string without points.

    Lines of one name share the colour class `s0`, `s1` ...; when the colours are used up, they come again
    with dashes (`d1`, `d2`, `d3`), so that 32 names can be told apart. With `percent` the y axis is 0 to 1,
    written as per cent; otherwise it fits the values, but ends at their 99.5th percentile, so that one spike
    doesn't flatten the rest. Values that are not finite are left out.
    """
    lines = [line for line in map(_finite, series) if len(line.xs)]
    if not lines:
        return ""
    axes = _axes(lines, spans, percent=percent, size=size)
    names = list(dict.fromkeys(line.name for line in lines))
    parts = [f'<svg class="chart" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(title)}">']
    parts += _frame(axes, spans, x_label)
    for line in sorted(lines, key=lambda line: not line.faint):
        parts += _line(line, axes, style=_style(names.index(line.name)))
    parts.append("</svg>")
    return "".join(parts) + _legend(names, lines, axes)


def _frame(axes: _Axes, spans: Sequence[Span], x_label: str) -> list[str]:
    parts: list[str] = []
    floor = axes.floor
    for number, span in enumerate(spans):
        left, right = axes.x(span.start), axes.x(span.end)
        shade = "stage odd" if number % 2 else "stage"
        place = f'x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{floor - _TOP}"'
        parts.append(f'<rect class="{shade}" {place}/>')
        if right - left > 7 * len(span.name):
            parts.append(
                f'<text class="stage-name" x="{(left + right) / 2:.1f}" y="{_TOP - 8}" text-anchor="middle">'
                f"{escape(span.name)}</text>"
            )
    for tick in axes.ticks:
        y = axes.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{axes.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{axes.text(tick)}</text>'
        )
    for tick in _ticks(axes.x0, axes.x1, count=6):
        if axes.x0 <= tick <= axes.x1 - 0.12 * (axes.x1 - axes.x0):
            place = f'x="{axes.x(tick):.1f}" y="{floor + 18}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<text class="tick" x="{axes.right}" y="{floor + 18}" text-anchor="end">{escape(x_label)}</text>'
    )
    return parts


def _style(number: int) -> str:
    """Return the classes of the n-th line: its colour, and its dashes when colours come again."""
    color, dashes = f"s{number % COLORS}", number // COLORS % DASHES
    return f"{color} d{dashes}" if dashes else color


def _line(line: Series, axes: _Axes, *, style: str) -> list[str]:
    thin = _thinned(line)
    points = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in zip(thin.xs, thin.ys, strict=True))
    shown = f"line {style} faint" if line.faint else f"line {style}"
    parts = [f'<polyline class="{shown}" points="{points}"/>']
    if not line.faint and len(thin.xs) <= 40:
        parts += [
            f'<circle class="point {style}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3">'
            f"<title>{escape(line.name)}: {axes.text(y)} at {x:g}</title></circle>"
            for x, y in zip(thin.xs, thin.ys, strict=True)
        ]
    return parts


def _legend(names: Sequence[str], lines: Sequence[Series], axes: _Axes) -> str:
    last = {line.name: line.ys[-1] for line in lines if not line.faint}
    items = [
        f'<li><i class="key {_style(number)}"></i>{escape(name)}'
        + (f" <b>{axes.text(last[name])}</b>" if name in last else "")
        + "</li>"
        for number, name in enumerate(names)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _axes(lines: Sequence[Series], spans: Sequence[Span], *, percent: bool, size: tuple[int, int]) -> _Axes:
    every_x = [x for line in lines for x in (line.xs[0], line.xs[-1])]
    # A line may be a single point in a long run; what is shaded must lie on the axis.
    every_x += [x for span in spans for x in (span.start, span.end)]
    x0, x1 = min(every_x), max(every_x)
    x1 = x1 if x1 > x0 else x0 + 1
    if percent:
        return _Axes(x0, x1, (0.0, 0.25, 0.5, 0.75, 1.0), percent=True, size=size)
    every_y = np.concatenate([np.asarray(line.ys, dtype=np.float64) for line in lines])
    low, high = float(every_y.min()), float(np.quantile(every_y, 0.995))
    # A curve that stays far from zero would waste the chart on the distance.
    low = 0.0 if 0 <= low < 0.6 * high else low
    ticks = _ticks(low, high if high > low else low + 1, count=5 if size[1] > WIDE[1] else 3)
    return _Axes(x0, x1, tuple(ticks), percent=False, size=size)


def _ticks(low: float, high: float, *, count: int) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about `count` of them."""
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _finite(line: Series) -> Series:
    kept = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    return Series(line.name, [x for x, _ in kept], [y for _, y in kept], line.faint)


def _thinned(line: Series) -> Series:
    if len(line.xs) <= MAX_POINTS:
        return line
    places = np.unique(np.linspace(0, len(line.xs) - 1, MAX_POINTS).round().astype(int))
    return Series(line.name, [line.xs[i] for i in places], [line.ys[i] for i in places], line.faint)


def smoothed(ys: Sequence[float], *, window: int) -> NDArray[np.float64]:
    """Return the mean of each value and the ones before it, at most `window` values."""
    values = np.asarray(ys, dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    result: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return result
