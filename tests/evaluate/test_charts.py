import re
from xml.etree import ElementTree

import pytest

from mustela.evaluate.charts import COLORS, DASHES, MAX_POINTS, Series, Span, line_chart, smoothed
from mustela.evaluate.page import PAGE


def svg(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{chart}</div>")


def test_a_chart_is_well_formed_and_escapes_names() -> None:
    series = [Series("<b>&\"'", [0, 1, 2], [3, 1, 2])]
    chart = line_chart(series, title='a "title" <x>', x_label="<step>", spans=[Span(0, 2, "<stage>")])
    root = svg(chart)
    assert "<b>&\"'" in "".join(root.itertext())
    assert root[0].get("aria-label") == 'a "title" <x>'


@pytest.mark.parametrize(
    "series",
    [[], [Series("empty", [], [])], [Series("lost", [1, 2], [float("nan"), float("inf")])]],
)
def test_without_numbers_there_is_no_chart(series: list[Series]) -> None:
    assert line_chart(series, title="t", x_label="x") == ""


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [-3.0, 3.0], [1e-12, 2e-12], [1e9, 1e9 + 1]])
def test_any_values_stay_inside_the_frame(values: list[float]) -> None:
    chart = line_chart([Series("s", range(len(values)), values)], title="t", x_label="x")
    points = svg(chart)[0].find("polyline").get("points").split()
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 560
        assert 0 <= y <= 260


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    xs = list(range(10_000))
    points = (
        svg(line_chart([Series("s", xs, xs)], title="t", x_label="x"))[0]
        .find("polyline")
        .get("points")
        .split()
    )
    assert len(points) == MAX_POINTS
    assert points[0].startswith("48.0,")
    assert points[-1].startswith("548.0,")


def test_one_spike_does_not_flatten_the_rest() -> None:
    ys = [1.0] * 999 + [1e6]
    chart = line_chart([Series("s", range(1000), ys)], title="t", x_label="x")
    ticks = [text.text for text in svg(chart)[0].iter("text")]
    assert "1e+06" not in ticks


def test_lines_of_one_name_share_a_colour_and_no_two_names_look_alike() -> None:
    series = [Series(f"n{i}", [0, 1], [0, 1]) for i in range(COLORS + 1)]
    series.append(Series("n1", [0, 1], [1, 0], faint=True))
    styles = [
        line.get("class") for line in svg(line_chart(series, title="t", x_label="x"))[0].iter("polyline")
    ]
    assert sorted(styles) == [
        "line s0",
        "line s0 d1",
        "line s1",
        "line s1 faint",
        *[f"line s{i}" for i in range(2, COLORS)],
    ]
    many = line_chart(
        [Series(f"n{i}", [0, 1], [0, 1]) for i in range(COLORS * DASHES)], title="t", x_label="x"
    )
    lines, keys = svg(many)[0].iter("polyline"), re.findall(r'class="key ([^"]+)"', many)
    assert len({line.get("class") for line in lines}) == len(set(keys)) == COLORS * DASHES
    sheet = (PAGE / "style.css").read_text(encoding="utf-8")
    assert all(f".s{i} {{" in sheet for i in range(COLORS))
    assert all(f".chart .line.d{i} {{" in sheet for i in range(1, DASHES))


def test_smoothing_averages_a_value_with_those_before_it() -> None:
    assert smoothed([2.0, 4.0, 6.0, 8.0], window=2).tolist() == [2.0, 3.0, 5.0, 7.0]
    assert smoothed([3.0, 1.0], window=1).tolist() == [3.0, 1.0]


def test_shaded_spans_stay_inside_the_frame_round_a_single_point() -> None:
    spans = [Span(0, 1000, "first"), Span(1000, 1300, "second")]
    chart = line_chart([Series("s", [1300], [0.5])], title="t", x_label="x", spans=spans, percent=True)
    for shade in svg(chart)[0].findall("rect"):
        left, width = float(shade.get("x")), float(shade.get("width"))
        assert left >= 0
        assert 0 < width <= 560 - left
