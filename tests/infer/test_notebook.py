"""What notebooks show."""

from __future__ import annotations

import re

from PIL import Image

from mustela.infer import Answer, Predictor, Query
from mustela.regions import Box, find_regions


def test_an_answer_shows_its_picture_and_marks_its_boxes() -> None:
    image = Image.new("RGB", (1600, 900), "white")
    text = 'a <b>"star"</b> [10, 20, 300, 400] & more'
    found = find_regions(text, image.size).regions
    answer = Answer(text, found, "", Query(image, "Where <script>?", (Box(1, 2, 30, 40),)), image)
    html = answer._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "Where &lt;script&gt;?" in html
    assert re.findall(r"<span[^>]*>(.*?)</span>", html) == ["[10, 20, 300, 400]"]
    assert html.count('src="data:image/png;base64,') == 1
    without = Answer("Yes.", (), "", Query(None, "Is it?"))._repr_html_()
    assert "<img" not in without


def test_a_predictor_shows_its_picture(predictor: Predictor, picture: Image.Image) -> None:
    assert "set_image" in predictor._repr_html_()
    predictor.set_image(picture)
    assert predictor._repr_html_().startswith('<img src="data:image/png;base64,')
