"""The packaged model behind the page: draw on a picture it has never seen, ask, see the boxes it names."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.serve.page.conftest import Visit, Visits

from mustela.infer import Exchange, Predictor
from mustela.regions import load_image, region_from_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained("shapes-base", device="cpu")


@pytest.fixture
def visit(visits: Visits, predictor: Predictor) -> Visit:
    visit = visits()

    def answer(body: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        picture, first = body["messages"][0]["content"]
        predictor.set_image(load_image(base64.b64decode(picture["image_url"]["url"].split(",")[1])))
        texts = [first["text"], *(message["content"] for message in body["messages"][1:])]
        regions = iter([region_from_json(region) for region in body["regions"]])
        shown = [tuple(next(regions) for _ in range(text.count("<region>"))) for text in texts[::2]]
        history = [Exchange(*turn) for turn in zip(texts[::2], shown, texts[1::2], strict=False)]
        said = predictor.ask(texts[-1], regions=shown[-1], history=history, max_new_tokens=96)
        found = [
            {
                "box_xyxy": list(each.region.bounds_xyxy()),
                "span": list(each.span),
                "repaired": each.repaired,
            }
            for each in said.regions
        ]
        return said.text, found

    visit.script.answer = answer
    return visit


def start(visit: Visit, example: int) -> None:
    visit.page.locator(".example").nth(example).click()
    visit.page.wait_for_selector("#canvas:not([hidden])")


def test_it_names_what_is_drawn_and_finds_what_is_there(visit: Visit) -> None:
    start(visit, 1)
    visit.page.fill("#question", "What is ")
    visit.drag((14, 75), (86, 146))
    visit.ask("?")
    assert visit.page.inner_text(".said .text") == "a green circle."
    visit.page.click("#new-conversation")
    visit.ask("Find and name all the objects.")
    assert visit.labels() == ["a green circle", "an orange square"]
    boxes = visit.page.eval_on_selector_all(
        ".said button.mark",
        "all => all.map(e => [e.ariaLabel.split(':')[0], e.title.match(/\\d+/g).map(Number)])",
    )
    for words, (width, height, left, top) in boxes:
        x1, y1, x2, y2 = {"an orange square": (191, 37, 246, 92), "a green circle": (14, 75, 86, 146)}[words]
        assert (left, top, left + width, top + height) == pytest.approx((x1, y1, x2, y2), abs=18)


@pytest.mark.parametrize(
    ("example", "expected"), [(0, "a yellow triangle."), (2, "a yellow circle."), (3, "Yes.")]
)
def test_the_examples_are_answered_well(visit: Visit, example: int, expected: str) -> None:
    start(visit, example)
    visit.page.wait_for_selector("#regions li")
    visit.ask()
    assert visit.page.inner_text(".said .text") == expected
