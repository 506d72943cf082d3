from xml.etree import ElementTree

import numpy as np

from mustela.evaluate.overlay import overlay
from mustela.regions import Box, Mask, Point, Polygon, Scribble


def elements(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<svg>{svg}</svg>"))


def test_every_region_but_a_mask_is_drawn_in_pixels_of_the_picture(make_prediction) -> None:
    regions = (
        Point(3, 4),
        Box(1, 2, 11, 22),
        Scribble(((1.0, 1.0), (9.0, 9.0))),
        Polygon((((1.0, 1.0), (9.0, 1.0), (9.0, 9.0)), ((2.0, 2.0), (3.0, 2.0), (3.0, 3.0)))),
        Mask.from_array(np.ones((480, 640), dtype=bool)),
    )
    found = elements(overlay(make_prediction(question_regions=regions)))
    asked = [item for item in found if item.get("class") in ("asked", "asked spot")]
    assert [item.tag for item in asked] == ["circle", "rect", "path", "path"]
    assert asked[1].attrib.items() >= {"x": "1.00", "y": "2.00", "width": "10.00", "height": "20.00"}.items()
    assert asked[3].get("d").count("Z") == 2
    assert [item.text for item in found if item.tag == "text"] == ["1", "2", "3", "4", "5"]
    boxes = {item.get("class"): item for item in found if item.tag == "rect"}
    assert boxes["truth"].get("x") == boxes["answer"].get("x") == "64.00"


def test_one_region_needs_no_number_and_no_picture_no_overlay(make_prediction) -> None:
    assert "text" not in overlay(make_prediction(question_regions=(Box(1, 2, 3, 4),)))
    assert overlay(make_prediction(image_wh=None)) == ""
