"""The page of records: regions linked to their words, and data that is never markup."""

from __future__ import annotations

import numpy as np
import pytest

from mustela.data.check import Checked
from mustela.data.faults import Fault
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.regions import Box, Mask, Point, Polygon, Scribble
from mustela.view.records import records_page, sample_positions


def page(*turns: Turn) -> str:
    record = Record("r<1>", (ImageRef("a.jpg", (64, 48)),), turns)
    return records_page([Checked(record, ())], title="x.json", folder=None, total=1)


def test_words_and_region_have_one_number() -> None:
    dog = RegionAnnotation(Box(1, 2, 30, 40))
    html = page(
        Turn("user", "<image>\nWhere is the dog?"),
        Turn("assistant", "There is a cat <bbox_location0> and a dog <bbox_location1>.",
             (RegionAnnotation(Point(3, 4)), dog)),
        Turn("user", "What is <bbox_location0>?", (dog,)),
        Turn("assistant", "a dog."),
    )  # fmt: skip
    assert html.count('class="mark" data-r="1"') == 2
    assert '<span class="words" data-r="1"' in html
    assert ">a dog</span>" in html
    assert html.count('<g data-r="1">') == 1


def test_text_of_data_is_escaped() -> None:
    html = page(Turn("user", "<image><script>alert(1)</script>"), Turn("assistant", "<b>x</b> \"'"))
    assert "<script>alert" not in html
    assert "<b>x" not in html
    assert "r&lt;1&gt;" in html


def test_every_kind_of_region_is_drawn() -> None:
    pixels = np.zeros((48, 64), dtype=bool)
    pixels[5:20, 5:20] = True
    triangle = Polygon((((1, 1), (9, 1), (9, 9)),))
    shapes = [Point(3, 4), Box(1, 2, 30, 40), Scribble(((1, 2), (9, 9))), triangle, Mask.from_array(pixels)]
    marks = " ".join(f"<bbox_location{number}>" for number in range(len(shapes)))
    html = page(
        Turn("user", f"<image>{marks}", tuple(RegionAnnotation(shape) for shape in shapes)),
        Turn("assistant", "x"),
    )
    for part in ("<circle", "<rect", 'class="stroke"', "evenodd", "data:image/png"):
        assert part in html


def test_refused_record_shows_its_faults() -> None:
    fault = Fault("box.swapped", "error", "x", 3, "r2", 0, "box", "x2 < x1.", "Set xywh.")
    html = records_page([Checked(None, (fault,))], title="x", folder=None, total=1)
    assert "error: x2 &lt; x1. Set xywh." in html
    assert 'data-kinds="box.swapped"' in html


@pytest.mark.parametrize(
    ("total", "count", "start", "expected"),
    [
        (10, 3, 0, [0, 1, 2]),
        (10, 3, 8, [8, 9]),
        (10, 5, -1, [0, 2, 4, 6, 8]),
        (2, 5, -1, [0, 1]),
        (3, 2, 9, []),
    ],
)
def test_sample_positions(total: int, count: int, start: int, expected: list[int]) -> None:
    assert list(sample_positions(total, count, start)) == expected
