"""Conversations: streaming, several rounds, words and boxes that light each other up, and faults."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image
from tests.serve.page.conftest import Visit, Visits, png

from mustela.regions import find_regions
from mustela.regions.phrases import phrase_before

pytestmark = pytest.mark.slow

TWO = "a red star [10, 10, 60, 60] and a ring [100, 100, 200, 200]."


def answer_two(visit: Visit) -> None:
    boxes = [
        ("[10, 10, 60, 60]", [4.0, 3.0, 24.0, 18.0]),
        ("[100, 100, 200, 200]", [200.0, 100.0, 300.0, 200.0]),
    ]
    visit.script.says(TWO, *boxes)
    visit.ask("What is there?")


def lit(visit: Visit) -> set[str]:
    visit.page.wait_for_timeout(80)  # the browser tells of moves with its next frame
    found: list[str] = visit.page.eval_on_selector_all(".lit[data-key]", "all => all.map(e => e.dataset.key)")
    return set(found)


def test_an_answer_streams_in(visit: Visit) -> None:
    visit.script.says("a red star [10, 10, 60, 60].", ("[10, 10, 60, 60]", [4.0, 3.0, 24.0, 18.0]))
    visit.script.hold.clear()
    visit.page.fill("#question", "Where is it?")
    visit.page.press("#question", "Enter")
    visit.page.wait_for_selector(".said.waiting .text:has-text('a red star [10')")
    assert visit.page.is_visible("#stop")
    assert visit.page.is_hidden("#send")
    visit.page.fill("#question", "Too early")
    visit.page.press("#question", "Enter")
    assert len(visit.script.requests) == 1
    visit.script.hold.set()
    visit.page.wait_for_selector(".said.done")
    assert visit.page.inner_text(".said .text").split() == ["a", "red", "star", "."]
    assert visit.labels() == ["a red star"]
    assert visit.page.inner_text("#status").startswith("Answer: a red star")


def test_a_stopped_answer_is_hung_up_on_and_kept(visit: Visit) -> None:
    visit.script.says("a red star and more")
    visit.script.hold.clear()
    visit.page.fill("#question", "Where is it?")
    visit.page.press("#question", "Enter")
    visit.page.wait_for_selector(".said.waiting .text:has-text('a red')")
    visit.page.click("#stop")
    visit.page.wait_for_selector(".said.stopped")
    assert visit.script.hung_up.wait(5)
    assert "stopped" in visit.page.inner_text(".said .foot")
    visit.script.hold.set()
    visit.page.click(".said .foot button:has-text('Ask again')")
    visit.page.wait_for_selector(".said.done")
    assert visit.page.inner_text(".said .text") == "a red star and more"


def test_rounds_go_on(visit: Visit) -> None:
    visit.drag((10, 10), (60, 60))
    visit.script.says("a red star.")
    first = visit.ask(" is what?")
    visit.drag((100, 100), (160, 160))
    visit.script.says("Yes.")
    second = visit.ask(" too?")
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][0] == first["messages"][0]
    assert second["messages"][1]["content"] == "a red star."
    assert second["messages"][2]["content"] == "<region> too?"
    assert second["regions"][0] == first["regions"][0]
    assert len(second["regions"]) == 2
    assert (first["model"], first["stream"], first["temperature"]) == ("scripted", True, 0)


def test_words_and_boxes_light_each_other_up(visit: Visit) -> None:
    answer_two(visit)
    assert visit.labels() == ["a red star", "a ring"]
    colours = visit.page.eval_on_selector_all(
        ".said .words, #overlay .mark", "all => all.map(e => e.style.getPropertyValue('--c'))"
    )
    assert sorted(colours[:2]) == sorted(colours[2:])
    assert colours[0] != colours[1]

    visit.page.hover(".said .words >> nth=1")
    assert lit(visit) == {"answer-0-1"}
    assert visit.page.locator("#overlay .mark.lit").count() == 1
    visit.page.mouse.move(*visit.client((14, 10)))
    assert lit(visit) == {"answer-0-0"}
    assert visit.page.inner_text(".said .words.lit") == "a red star"
    visit.page.mouse.move(*visit.client((390, 290)))
    assert lit(visit) == set()
    # By keyboard: the mark behind the words.
    visit.page.focus(".said button.mark >> nth=1")
    assert lit(visit) == {"answer-0-1"}
    name = visit.page.get_attribute(".said button.mark >> nth=1", "aria-label")
    assert name == "a ring: box, 100 × 100 pixels at 200, 100"


def test_a_region_and_its_names_light_each_other_up(visit: Visit) -> None:
    visit.drag((100, 100), (200, 200))
    visit.ask(" is what?")
    visit.page.hover(".asked .chip")
    assert lit(visit) == {"region-1"}
    assert visit.page.locator("#overlay .mark.lit").count() == 1
    visit.page.click("#regions .name")
    token = visit.page.evaluate(
        "() => { const r = document.querySelector('.composer .token').getBoundingClientRect();"
        " return [r.left + r.width / 2, r.top + r.height / 2]; }"
    )
    visit.page.mouse.move(5, 5)
    visit.page.mouse.move(*token)
    assert lit(visit) == {"region-1"}


def test_the_round_pointed_at_has_its_boxes_on_the_picture(visit: Visit) -> None:
    answer_two(visit)
    visit.script.says("No.")
    visit.ask("Is there a cross?")
    visit.page.mouse.move(5, 5)
    assert visit.labels() == []
    visit.page.hover(".round >> nth=0")
    assert visit.labels() == ["a red star", "a ring"]


@pytest.mark.parametrize(
    ("text", "shown", "label"),
    [
        (
            "\U0001f600 a caf\u00e9 \u2615 [1, 2, 3, 4]!",
            "\U0001f600 a caf\u00e9 \u2615 !",
            "\U0001f600 a caf\u00e9 \u2615",
        ),
        ("Yes. The cup [1, 2, 3, 4].", "Yes. The cup .", "The cup"),
        ("it is bigger than a blue cross [1, 2, 3, 4]", "it is bigger than a blue cross ", "a blue cross"),
    ],
)
def test_spans_count_code_points_and_labels_are_short(
    visit: Visit, text: str, shown: str, label: str
) -> None:
    visit.script.says(text, ("[1, 2, 3, 4]", [4.0, 3.0, 24.0, 18.0]))
    visit.ask("?")
    assert visit.page.text_content(".said .text") == shown
    assert visit.labels() == [label]


def test_a_point_is_shown_and_the_answer_is_text_only(visit: Visit) -> None:
    visit.script.says("<b>here</b> [5, 5] & [bold", ("[5, 5]", [20.0, 15.0]))
    visit.ask("<script>alert(1)</script>")
    assert visit.page.locator(".said button.mark.point").count() == 1
    assert visit.page.text_content(".said .text") == "<b>here</b>  & [bold"
    assert visit.page.text_content(".asked p") == "<script>alert(1)</script>"


def test_the_words_of_a_region_are_those_that_python_finds(visit: Visit) -> None:
    texts = [
        "a dog [1, 2, 3, 4]",
        "Yes. Look: the big dog, [1, 2, 3, 4]",
        "**a dog** [1, 2, 3, 4]",
        "\u4e00\u53ea\u72d7\u3002\u4e00\u53ea\u732b [1, 2, 3, 4]",
        "and a dog [1, 2, 3, 4]",
        "One!\ntwo dogs - [1, 2, 3, 4]",
    ]
    for text in texts:
        (found,) = find_regions(text, (100, 100)).regions
        before = text[: found.span[0]]
        words = visit.page.evaluate(
            "async (before) => { const { wordsBefore } = await import('/page/answer.js');"
            " const found = wordsBefore(before); return found && before.slice(...found); }",
            before,
        )
        assert words == phrase_before(before), text


def test_faults_are_said_and_tried_again(visit: Visit) -> None:
    visit.script.refusals.append((429, {"Retry-After": "1"}, "Too many questions wait."))
    visit.ask("Where?")
    assert visit.page.inner_text(".said.failed .fault") == "Too many questions wait."
    again = visit.page.locator(".said.failed button")
    assert again.is_disabled()
    assert again.inner_text() == "Try again in 1 s"
    visit.page.wait_for_selector(".said.failed button:enabled")
    again.click()
    visit.page.wait_for_selector(".said.done")
    # What failed is no part of the history.
    visit.script.refusals.append((400, {}, "That is too long."))
    visit.ask("Second?")
    third = visit.ask("Third?")
    assert [message["role"] for message in third["messages"]] == ["user", "assistant", "user"]


def test_an_answer_cut_at_the_limit_says_so(visit: Visit) -> None:
    visit.script.finish = "length"
    visit.ask("Where?")
    assert "cut at the token limit" in visit.page.inner_text(".said .foot")


def test_a_key_is_asked_for(visits: Visits, script: Any) -> None:
    script.key = "secret"
    visit = visits()
    visit.page.wait_for_selector("#key-dialog[open]")
    visit.page.fill("#key", "wrong")
    visit.page.press("#key", "Enter")
    visit.page.wait_for_selector("#key-dialog[open]")
    visit.page.fill("#key", "secret")
    visit.page.press("#key", "Enter")
    visit.page.wait_for_selector('.model[data-state="ready"]')
    visit.open(png(Image.new("RGB", (40, 30))))
    visit.ask("Where?")
    visit.page.click("#copy-code")
    code = visit.page.inner_text("#code")
    assert "Bearer $MUSTELA_API_KEY" in code
    assert "secret" not in code


def test_several_models_can_be_chosen_from(visits: Visits, script: Any) -> None:
    script.models = ["one", "two"]
    visit = visits()
    visit.page.select_option("#model-choice", "two")
    visit.open(png(Image.new("RGB", (40, 30))))
    assert visit.ask("Where?")["model"] == "two"


def test_nothing_is_asked_without_picture_or_words(visits: Visits) -> None:
    visit = visits()
    visit.page.fill("#question", "Where?")
    visit.page.press("#question", "Enter")
    assert visit.fault == "Choose a picture first."
    visit.open(png(Image.new("RGB", (40, 30))))
    visit.page.press("#question", "Enter")
    assert visit.fault == "Write a question first."
    assert visit.script.requests == []


def test_shift_enter_and_input_methods_write(visit: Visit) -> None:
    visit.page.fill("#question", "One")
    visit.page.press("#question", "Shift+Enter")
    visit.page.keyboard.type("two")
    visit.page.dispatch_event("#question", "keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    assert visit.page.input_value("#question") == "One\ntwo"
    assert visit.script.requests == []


def test_a_new_conversation_and_back(visit: Visit) -> None:
    visit.drag((10, 10), (60, 60))
    visit.ask(" is what?")
    visit.page.click("#new-conversation")
    assert (visit.rounds, visit.labels()) == (0, [])
    request = visit.ask("Anew")
    assert len(request["messages"]) == 1
    visit.page.click("#new-conversation")
    visit.open(png(Image.new("RGB", (40, 30))), "other.png")
    assert visit.rounds == 0
    visit.ask("Other")
    visit.page.click("#new-conversation")
    visit.page.click("#toast button")
    assert visit.page.inner_text(".asked p") == "Other"


def transfer(data: bytes, name: str) -> str:
    numbers = ",".join(map(str, data))
    return (
        "(() => { const t = new DataTransfer();"
        f" t.items.add(new File([new Uint8Array([{numbers}])], '{name}', {{type: 'image/png'}}));"
        " return t; })()"
    )


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(visits: Visits, way: str) -> None:
    visit = visits()
    given = transfer(png(Image.new("RGB", (40, 30))), "a b/c.png")
    kind, key = ("DragEvent", "dataTransfer") if way == "drop" else ("ClipboardEvent", "clipboardData")
    visit.page.evaluate(f"document.dispatchEvent(new {kind}('{way}', {{{key}: {given}, cancelable: true}}))")
    visit.page.wait_for_selector("#canvas:not([hidden])")
    assert re.match(r"Picture .*c\.png, 40 by 30 pixels", visit.page.get_attribute("#canvas", "aria-label"))


def test_what_is_no_picture_is_refused(visit: Visit) -> None:
    visit.page.set_input_files(
        "#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"not a picture"}
    )
    visit.page.wait_for_selector("#toast:has-text('notes.png is not a picture that the browser can show.')")
    assert visit.page.get_attribute("#canvas", "aria-label") == "Picture scene.png, 400 by 300 pixels"


def test_a_kind_that_the_server_may_not_read_is_sent_as_png(visits: Visits) -> None:
    visit = visits()
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><rect width="60" height="9"/></svg>'
    )
    visit.page.set_input_files("#file", {"name": "drawing.svg", "mimeType": "image/svg+xml", "buffer": svg})
    visit.page.wait_for_selector("#canvas:not([hidden])")
    url = visit.ask("What?")["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,iVBOR")


def test_a_file_is_sent_as_it_is(visits: Visits) -> None:
    visit = visits()
    buffer = io.BytesIO()
    Image.effect_noise((60, 40), 90).convert("RGB").save(buffer, "jpeg", quality=80)
    visit.open(buffer.getvalue(), "photo.jpg")
    url = visit.ask("What?")["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) == buffer.getvalue()


def test_examples_are_ready_to_ask(visits: Visits) -> None:
    visit = visits()
    visit.page.wait_for_selector(".example")
    count = visit.page.locator(".example").count()
    assert count >= 3
    visit.page.locator(".example").nth(count - 1).click()
    visit.page.wait_for_selector("#canvas:not([hidden])")
    visit.page.wait_for_selector("#regions li")
    request = visit.ask()
    assert request["messages"][0]["content"][1]["text"] == "Is <region> bigger than <region>?"
    assert [region["type"] for region in request["regions"]] == ["point", "polygon"]


def test_the_theme_follows_the_system_or_the_button(visits: Visits) -> None:
    def ink(visit: Visit) -> int:
        colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    visit = visits(color_scheme="dark")
    assert ink(visit) < 150
    visit.page.click("#theme")
    assert ink(visit) > 600
    visit.page.reload()
    assert ink(visit) > 600
    visit.page.click("#theme")
    assert ink(visit) < 150
