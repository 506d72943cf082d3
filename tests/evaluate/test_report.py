import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mustela.errors import ConfigError
from mustela.evaluate import compare, score_predictions, write_comparison, write_predictions, write_report
from mustela.evaluate.gallery import SIDE, draw_prediction, make_card, pick, pieces, question_score
from mustela.regions import Box

NASTY = '<script>alert("x")</script>&\'"'
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Checker(HTMLParser):
    """Collects what a page would fetch, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "poster") and not value.startswith(
                ("data:image/", "#")
            ):
                self.outside.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(path: Path) -> str:
    html = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert checker.outside == []
    assert checker.scripts == 0
    assert not re.search(r"url\(|@import|https?://", html)
    return html


@pytest.fixture
def predictions(make_prediction) -> list:
    found = []
    for number in range(4):
        common = {"picture": f"{number % 2}.png", "image_wh": (60, 40)}
        box = (6.0, 8.0, 30.0, 32.0)
        texts = {0: "a dog [100, 200, 500, 800].", 1: "a dog [600, 600, 900, 900].", 2: "none", 3: NASTY}
        found.append(
            make_prediction(
                **common,
                question_id=f"g{number}",
                reference_boxes=(box,),
                text=texts[number],
                reference=NASTY,
            )
        )
        found.append(
            make_prediction(
                **common,
                question_id=f"r{number}",
                kind="referring",
                question=f"What is <region>? {NASTY}",
                question_regions=(Box(*box),),
                reference="a dog." if number else NASTY,
                reference_boxes=(),
                reference_phrases=(),
                text="a dog." if number < 3 else NASTY,
            )
        )
    return found


@pytest.fixture
def folder(tmp_path: Path, predictions: list) -> Path:
    for number in range(2):
        pixels = np.full((40, 60, 3), 40 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return save(tmp_path / "evaluation", predictions, "tiny")


def save(folder: Path, predictions: list, model: str) -> Path:
    folder.mkdir()
    write_predictions(folder / "predictions.jsonl", predictions)
    (folder / "metrics.json").write_text(json.dumps(score_predictions(predictions)))
    card = {"about": {"model": model, "data": NASTY}, "model_fingerprint": "0123"}
    (folder / "evaluation.json").write_text(json.dumps(card))
    return folder


def test_the_report_is_one_page_that_needs_nothing_else_and_escapes_all_data(folder, tmp_path) -> None:
    (folder / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    html = check(write_report(folder, image_folder=tmp_path))
    assert "alert(&#34;x&#34;)" in html
    assert "<script" not in html
    assert "data:image/jpeg;base64," in html
    for part in (
        "Referring",
        "Grounding",
        "Where it is right",
        "Where it goes wrong",
        "How to read this",
        "Loss",
    ):
        assert part in html
    assert "without +1" in html
    assert "chance" in html


def test_the_report_keeps_within_a_bound_and_reproduces(folder, tmp_path) -> None:
    first = write_report(folder, image_folder=tmp_path, out=tmp_path / "a.html", pictures=3).read_bytes()
    second = write_report(folder, image_folder=tmp_path, out=tmp_path / "b.html", pictures=3).read_bytes()
    assert first == second
    assert first.count(b"data:image/jpeg") <= 9
    assert len(first) < 500_000


def test_lost_pictures_leave_a_note(folder, tmp_path) -> None:
    html = check(write_report(folder, image_folder=tmp_path / "elsewhere"))
    assert "data:image" not in html
    assert "elsewhere" in html


def test_an_empty_or_unfinished_evaluation_is_an_error(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.json is missing"):
        write_report(tmp_path, image_folder=tmp_path)


def test_before_and_after_are_compared_on_the_same_questions(
    folder, tmp_path, predictions, make_prediction
) -> None:
    better = [
        make_prediction(**{**vars(item), "text": "a dog [100, 200, 500, 800]."})
        if item.kind == "grounding"
        else item
        for item in predictions
    ]
    after = save(tmp_path / "after", better, "tuned")
    changes = {change.kind: change for change in compare(folder, after)}
    assert changes["grounding"].before == 0.25
    assert changes["grounding"].after == 1.0
    assert changes["grounding"].low > 0
    assert changes["referring"].change == 0.0
    page = write_comparison(folder, after, image_folder=tmp_path, out=tmp_path / "compare.html")
    html = check(page)
    assert "Learned" in html
    assert "Forgotten" not in html
    assert '<span class="up">+75.0</span>' in html
    assert '<span class="">+0.0</span>' in html
    assert "asked of tiny and of tuned." in html


def test_evaluations_of_one_model_go_by_their_folders(folder, tmp_path, predictions) -> None:
    again = save(tmp_path / "again", predictions, "tiny")
    html = check(write_comparison(folder, again, image_folder=tmp_path, out=tmp_path / "compare.html"))
    assert "asked of evaluation and of again." in html


def test_the_head_of_a_card_wraps_with_a_gap(folder, tmp_path) -> None:
    html = write_report(folder, image_folder=tmp_path, out=tmp_path / "report.html").read_text()
    (rule,) = re.findall(r"\.shot \.top \{([^}]*)\}", html)
    assert "flex-wrap: wrap" in rule
    assert "gap: 0 12px" in rule


def test_evaluations_of_different_questions_are_not_compared(folder, tmp_path, predictions) -> None:
    other = save(tmp_path / "other", predictions[:-1], "other")
    with pytest.raises(ConfigError, match="did not ask the same questions: 1 are in one only, 0 differ"):
        compare(folder, other)


def test_a_detection_is_no_better_than_its_names(make_prediction) -> None:
    boxes = ((0.0, 0.0, 320.0, 240.0), (320.0, 240.0, 640.0, 480.0))
    answer = "a dog [0, 0, 500, 500], a cow [500, 500, 1000, 1000]."
    found = {
        kind: make_prediction(
            kind=kind, reference_boxes=boxes, reference_phrases=("dog", "cat"), text=answer, reference=answer
        )
        for kind in ("grounding", "detection")
    }
    cards = {kind: make_card(item, image_folder=None) for kind, item in found.items()}
    assert question_score(found["grounding"]) == pytest.approx(1, abs=0.01)
    assert question_score(found["detection"]) == 0.5
    assert cards["grounding"].score == "IoU 1.00"
    assert cards["detection"].score == "IoU 1.00, 1 of 2 named"


def test_pictures_are_picked_of_all_kinds_and_differ(predictions) -> None:
    chosen = pick(predictions, order=lambda item: -question_score(item), count=4)
    assert [item.kind for item in chosen] == ["referring", "grounding"] * 2
    assert question_score(chosen[1]) == 1.0
    assert {item.picture for item in chosen[:2]} == {"0.png", "1.png"}
    assert pick(predictions, order=lambda _: 0, count=99, seed=1) != predictions
    assert len(pick(predictions, order=lambda _: 0, count=99)) == len(predictions)
    assert pick([], order=lambda _: 0, count=3) == []


@pytest.mark.parametrize("size", [(60, 40), (3000, 200), (7, 900)])
def test_drawn_predictions_have_a_bounded_size(make_prediction, size) -> None:
    box = (1.0, 1.0, size[0] / 2, size[1] / 2)
    asked = make_prediction(image_wh=size, reference_boxes=(box,), question_regions=(Box(*box), Box(*box)))
    drawn = draw_prediction(asked, Image.new("RGB", size, "white"))
    assert max(drawn.size) <= SIDE
    assert drawn.size != (0, 0)


def test_an_answer_is_cut_into_words_and_coordinates(make_prediction) -> None:
    text = "a dog [1, 2, 3, 4] and [5, 6, 7, 8]."
    found = pieces(text, make_prediction())
    assert "".join(piece.text for piece in found) == text
    assert [piece.text for piece in found if piece.coordinates] == ["[1, 2, 3, 4]", "[5, 6, 7, 8]"]
