import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mustela.errors import RegionError
from mustela.regions import Box, Point, find_regions

VGA = (640, 480)
BOX = Box(64, 96, 192, 192)


@pytest.mark.parametrize(
    "text",
    [
        "The dog [100, 200, 300, 400].",
        "(100,200),(300,400)",
        "\uff3b100\uff0c200\uff0c300\uff0c400\uff3d",
        "( 100 , 200 ) , ( 300 , 400 )",
        "((100, 200), (300, 400))",
        "[[100, 200], [300, 400]]",
        "<box>[[100, 200, 300, 400]]</box>",
        "<box>100 200 300 400</box>",
        "<|box_start|>(100,200),(300,400)<|box_end|>",
        "[100.0,200.0,300.0,400.0]",
        "[100 200 300 400]",
        "[100px, 200px, 300px, 400px]",
        "**[100, 200, 300, 400]**",
        "`(100, 200, 300, 400)`",
        '["100", "200", "300", "400"]',
        '```json\n[\n  {"bbox_2d": [\n100,\n200,\n300,\n400\n]}\n]\n```',
        '{"x1": 100, "y1": 200, "x2": 300, "y2": 400}',
        '{"xmin": 100, "ymin": 200, "xmax": 300, "ymax": 400}',
        '{"x": 100, "y": 200, "width": 200, "height": 200}',
        "box(x1=100, y1=200, x2=300, y2=400)",
        "\uff08\uff11\uff10\uff10\uff0c\uff12\uff10\uff10\uff0c\uff13\uff10\uff10\uff0c\uff14\uff10\uff10\uff09",
        "A list (a, b) of [1990-2000], [12] and (see 3): [100, 200, 300, 400]",
        "[1e2, 2e2, 3.0e+2, 400.]",
    ],
)
def test_a_box_is_found_in_any_dress(text):
    found = find_regions(text, VGA)
    assert [region.region for region in found.regions] == [BOX]
    assert not found.regions[0].repaired
    assert found.rejected == ()
    assert found.failure is None
    assert found.boxes == (BOX,)


@pytest.mark.parametrize(
    ("text", "scale", "expected"),
    [
        ("[0.1, 0.2, 0.3, 0.4]", "unit", BOX),
        ("[64, 96, 192, 192]", "pixels", BOX),
        ('{\n "bbox_2d": [334, 557, 468, 614],\n "label": "x"}', "bins", Box(213.76, 267.36, 299.52, 294.72)),
        ("[15, 41, 63, 126]", "bins", Box(9.6, 19.68, 40.32, 60.48)),
        ("[0, 0, 1000, 1000]", "bins", Box(0, 0, 640, 480)),
        ("[500, 500]", "bins", Point(320, 240)),
        ("(0.5, 0.5)", "unit", Point(320, 240)),
        ('{"point_2d": [500, 500], "label": "x"}', "bins", Point(320, 240)),
        ('{"x": 500, "y": 500}', "bins", Point(320, 240)),
        ("[5, 5, 5, 5]", "bins", Box(3.2, 2.4, 3.2, 2.4)),
    ],
)
def test_scales(text, scale, expected):
    (found,) = find_regions(text, VGA, scale=scale).regions
    assert found.region.bounds_xyxy() == pytest.approx(expected.bounds_xyxy())
    assert type(found.region) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("[300, 400, 100, 200]", BOX, "corners swapped"),
        ("[300, 200, 100, 400]", BOX, "corners swapped"),
        ("[900, -3, 1020, 500]", Box(576, 0, 640, 240), "border"),
        ("[100, 200, 300, 400", BOX, "not closed"),
        ("It is at [100, 200, 300, 400", BOX, "not closed"),
        ("[100, 200, 300, 400 and then", BOX, "not closed"),
        ("[100, 200, 300, 400)", BOX, "match"),
        ("100, 200, 300, 400.", BOX, "no brackets"),
        ("[1010, 500]", Point(640, 240), "border"),
    ],
)
def test_repairs_are_made_and_told(text, expected, note):
    (found,) = find_regions(text, VGA).regions
    assert found.region.bounds_xyxy() == pytest.approx(expected.bounds_xyxy())
    assert found.repaired
    assert note in found.note


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[100, 200, 300]", "3 numbers"),
        ("[1, 2, 3, 4, 5]", "5 numbers"),
        ("(764,25),(1659,1)", "1659 is out of range"),
        ("(987,369),(10825,370),(1141,760)", "10825 is out of range"),
        ("[1e400,0,1,1]", "not finite"),
        ("[nan, 0, 1, 1]", "not finite"),
        ("[Infinity, 0, 1, 1]", "not finite"),
        ("[0.1, 0.2, 0.3, 0.4]", "scale 'unit'"),
        ("[1010, 0, 1020, 50]", "outside the image"),
        ("[-200, 0, 100, 100]", "out of range"),
        ("[[1, 2], 3, 4]", "mixed"),
        ("none", "no coordinates"),
        ("", "no coordinates"),
        ("There are 4 dogs (2 of them brown).", "no coordinates"),
        ("[" + "9" * 100_000 + ", 1, 2, 3]", "not finite"),
    ],
)
def test_what_is_no_box_has_a_reason(text, reason):
    found = find_regions(text, VGA)
    assert found.regions == ()
    assert found.boxes == ()
    assert reason in found.failure
    for rejected in found.rejected:
        assert 0 <= rejected.span[0] < rejected.span[1] <= len(text)


def test_numbers_too_large_for_shares_get_a_hint():
    assert "bins" in find_regions("[100, 200, 300, 400]", VGA, scale="unit").failure


def test_several_boxes_with_their_phrases_and_spans():
    text = "a [1,2,3,4] b [5,6,7,8]"
    found = find_regions(text, VGA).regions
    assert [region.phrase for region in found] == ["a", "b"]
    assert [text[slice(*region.span)] for region in found] == ["[1,2,3,4]", "[5,6,7,8]"]
    assert found[0].region.bounds_xyxy() == pytest.approx((0.64, 0.96, 1.92, 1.92))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("two dogs [1,2,3,4], [5,6,7,8] and [9,9,20,20], and a cat [5,5,9,9].", ["two dogs"] * 3 + ["a cat"]),
        ("There is a man. The dog [1,2,3,4] runs", ["The dog"]),
        ("<ref>the dog</ref><box>(1,2),(3,4)</box><box>(5,6),(7,8)</box>", ["the dog", "the dog"]),
        ('[{"bbox_2d": [1,2,3,4], "label": "a b"}, {"label": "c", "bbox": [5,6,7,8]}]', ["a b", "c"]),
        (r'{"bbox_2d": [1,2,3,4], "label": "the \"STOP\" sign"}', ['the "STOP" sign']),
        (r'{"bbox_2d": [1,2,3,4], "label": "\u72d7"}', ["\u72d7"]),
        (r"{'bbox_2d': [1,2,3,4], 'label': 'the dog\'s ball'}", ["the dog's ball"]),
        (r'{"bbox_2d": [1,2,3,4], "label": "a \ud800 b"}', [r"a \ud800 b"]),
        ('{"bbox_2d": [1,2,3,4]}', [""]),
        ("[1,2,3,4]", [""]),
        ("1. dog: [1,2,3,4]\n2. cat: [5,6,7,8]", ["dog", "cat"]),
    ],
)
def test_phrases(text, phrases):
    assert [region.phrase for region in find_regions(text, VGA).regions] == phrases


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("[10, 20], [30, 40]", [Point, Point]),
        ("(10,20),(30,40)", [Box]),
        ("(10,20) and (30,40)", [Point, Point]),
        ("(10,20),(30,40); (50,60),(70,80)", [Box, Box]),
        ("(10,20),(30,40),(50,60),(70,80)", [Box, Box]),
        ("(10,10),(90,10),(90,50),(10,50)", [Point] * 4),
        ("(10,20),(30,40),(50,60)", [Point] * 3),
        ('{"points": [[10, 20], [30, 40]]}', [Point, Point]),
        ("[[1,2,3,4],[5,6,7,8]]", [Box, Box]),
        ("a [1,2,3,4] at (5,6)", [Box, Point]),
    ],
)
def test_pairs_are_points_or_corners(text, kinds):
    assert [type(region.region) for region in find_regions(text, VGA).regions] == kinds


def test_good_boxes_beside_bad_ones_are_kept():
    found = find_regions("a [1,2,3] b [1,2,3,4] c [5,6,7,9000]", VGA)
    assert [region.phrase for region in found.regions] == ["b"]
    assert len(found.rejected) == 2


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="0123456789.,;-+eE[](){}<>|/ \n\"':=boxnaif\\xylbe", max_size=80))
def test_no_text_raises(text):
    for scale in ("bins", "unit", "pixels"):
        found = find_regions(text, VGA, scale=scale)
        for region in found.regions:
            x1, y1, x2, y2 = region.region.bounds_xyxy()
            assert 0 <= x1 <= x2 <= 640
            assert 0 <= y1 <= y2 <= 480
            assert 0 <= region.span[0] < region.span[1] <= len(text)
            assert region.repaired == bool(region.note)
        starts = [region.span for region in found.regions]
        assert starts == sorted(starts)


@given(st.text(max_size=200))
def test_no_unicode_text_raises(text):
    find_regions(text, VGA)


HOSTILE = [
    *("[", "(", "{", "]", "[1,2,", "1", "1,", ".", "a.", ". ", "(1,2),", "[1,2,3,4]", '{"label":"x",'),
    *('"label"', "<", "<box", "<box>", "</box>", "1e", "-", '"', " ", "\n", "a ", "[[1,2],", "and "),
    *('{"label":"x",[1,2,3,4]', "\uff08", "label:", "label='", "x1=", "((", "1 ", "+1."),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear_on_hostile_text(unit):
    def seconds(length):
        text = unit * (length // len(unit))
        started = time.process_time()
        find_regions(text, VGA)
        return time.process_time() - started

    # Quadratic behaviour would cost a hundred seconds here; a loaded machine a few.
    assert seconds(100_000) < 10


def test_only_the_caller_can_make_it_raise():
    with pytest.raises(RegionError, match="image size"):
        find_regions("[1, 2, 3, 4]", (0, 480))
    with pytest.raises(RegionError, match="scale"):
        find_regions("[1, 2, 3, 4]", VGA, scale="percent")
