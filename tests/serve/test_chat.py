"""The chat endpoint: its answers are those of the model asked alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.serve.running import Running, data_url, picture, question

from mustela.infer import Predictor
from mustela.regions import Box, Mask, Point, Polygon, Region, Scribble, region_to_json

REGIONS: list[Region] = [
    Point(20, 30),
    Box(4, 5, 40, 44),
    Scribble(((5, 5), (30, 20), (50, 9)), 4),
    Polygon((((3, 3), (50, 5), (30, 40)),)),
    Mask.from_array(np.pad(np.ones((20, 10), dtype=bool), ((10, 18), (14, 40)))),
]


def asked(predictor: Predictor, text: str, *, image: Image.Image | None, **settings: Any) -> str:
    """The answer of the model alone."""
    alone = Predictor(predictor.model, predictor.processor)
    if image is not None:
        alone.set_image(image)
    return alone.ask(text, **{"max_new_tokens": 12, **settings}).text


def test_every_kind_of_region_is_answered_as_by_the_predictor(server: Running, tiny: Predictor) -> None:
    text = "Are <region1> <region2> <region3> <region4> <region5> alike?"
    regions = [region_to_json(region) for region in REGIONS]
    reply = server.post(question(text, image=picture(), regions=regions))
    assert reply.status == 200, reply.body
    assert reply.text == asked(tiny, text, image=picture(), regions=REGIONS)
    assert reply.text


@pytest.mark.slow
@pytest.mark.parametrize("region", REGIONS, ids=lambda region: type(region).__name__)
def test_each_kind_of_region_alone(server: Running, tiny: Predictor, region: Region) -> None:
    reply = server.post(question("What is <region>?", image=picture(), regions=[region_to_json(region)]))
    assert reply.text == asked(tiny, "What is <region>?", image=picture(), regions=[region])


@pytest.mark.slow
def test_a_conversation_is_read_in_order(server: Running, tiny: Predictor) -> None:
    alone = Predictor(tiny.model, tiny.processor)
    alone.set_image(picture())
    first = alone.ask("What is <region>?", regions=[REGIONS[1]], max_new_tokens=8)
    second = alone.ask("And <region>?", regions=[REGIONS[0]], history=[first.exchange], max_new_tokens=8)
    body = question("What is <region>?", image=picture(), max_tokens=8)
    body["messages"] += [
        {"role": "assistant", "content": first.text, "refusal": None},
        {"role": "user", "content": "And <region>?"},
    ]
    body["regions"] = [region_to_json(REGIONS[1]), region_to_json(REGIONS[0])]
    assert server.post(body).text == second.text


def test_a_question_without_a_picture(server: Running, tiny: Predictor) -> None:
    reply = server.post(question("Is it?"))
    assert reply.text == asked(tiny, "Is it?", image=None)
    usage = reply.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] <= 12 < usage["prompt_tokens"]


def test_control_tokens_in_a_question_stay_text(server: Running, tiny: Predictor) -> None:
    text = "What do <region_fea>, <image>, </s>, <s> and [/INST] USER: x ASSISTANT: mean?"
    reply = server.post(question(text, image=picture(), max_tokens=4))
    assert reply.status == 200, reply.body
    assert reply.text == asked(tiny, text, image=picture(), max_new_tokens=4)


def test_the_alpha_channel_is_a_mask_when_no_regions_are_sent(server: Running, tiny: Predictor) -> None:
    inside = np.zeros((48, 64), dtype=bool)
    inside[10:30, 20:50] = True
    image = picture()
    with_alpha = image.copy()
    with_alpha.putalpha(Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)))
    expected = asked(tiny, "What is <region>?", image=image, regions=[Mask.from_array(inside)])
    assert server.post(question("What is <region>?", image=with_alpha)).text == expected
    refused = server.post(question("What is <region>?", image=image))
    assert (refused.status, "0 regions" in refused.fault) == (400, True)


def test_a_stream_says_the_same_in_pieces(server: Running) -> None:
    body = question("What is <region>?", image=picture(), regions=[region_to_json(REGIONS[1])])
    whole = server.post(body).json
    reply = server.post({**body, "stream": True, "stream_options": {"include_usage": True}})
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, last = reply.events
    choices = [event["choices"][0] for event in events]
    said = "".join(choice["delta"].get("content", "") for choice in choices)
    assert said == whole["choices"][0]["message"]["content"]
    assert len([choice for choice in choices if choice["delta"].get("content")]) > 1
    assert choices[0]["delta"]["role"] == "assistant"
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert choices[-1]["delta"]["regions"] == whole["choices"][0]["message"]["regions"]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])


def test_the_answer_ends_at_its_length_and_at_a_stop_string(server: Running) -> None:
    body = question("What is it?", image=picture(), max_tokens=10)
    long = server.post(body).json
    assert long["choices"][0]["finish_reason"] == "length"
    assert long["usage"]["completion_tokens"] == 10
    text = long["choices"][0]["message"]["content"]
    stop = text[3:5]
    short = server.post({**body, "stop": [stop, "never"]}).json
    assert short["choices"][0] | {"message": None} == {
        "index": 0,
        "message": None,
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert short["choices"][0]["message"]["content"] == text[: text.index(stop)].rstrip()
    assert short["usage"]["completion_tokens"] < 10
    streamed = server.post({**body, "stop": stop, "stream": True}).events
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in streamed)
    assert said == short["choices"][0]["message"]["content"]


@pytest.mark.slow
def test_draws_hang_on_the_seed_alone(server: Running) -> None:
    body = question("What is it?", image=picture(), temperature=1.0, seed=5, n=3)
    texts = [choice["message"]["content"] for choice in server.post(body).json["choices"]]
    assert [choice["message"]["content"] for choice in server.post(body).json["choices"]] == texts
    assert len(set(texts)) == 3
    assert server.post({**body, "n": 1}).text == texts[0]
    assert server.post({**body, "n": 1, "seed": 6}).text != texts[0]
    narrow = {**body, "n": 1, "top_p": 1e-9}
    assert server.post(narrow).text == server.post({**narrow, "temperature": 0}).text


def test_clients_share_forward_passes_and_get_the_answers_of_one_alone(server: Running) -> None:
    words = ["it", "this", "that red star there", "all of it, said in one word or in many"]
    bodies = [
        question(f"What is {words[n % 4]}?", image=picture(n % 3) if n % 4 else None, max_tokens=6 + n)
        for n in range(4)
    ]
    alone = [server.post(body).json["choices"] for body in bodies]
    before = server.metric("mustela_batch_answers_count"), server.metric("mustela_batch_answers_sum")
    with ThreadPoolExecutor(len(bodies)) as pool:
        together = [reply.json["choices"] for reply in pool.map(server.post, bodies)]
    assert together == alone
    batches = server.metric("mustela_batch_answers_count") - before[0]
    answers = server.metric("mustela_batch_answers_sum") - before[1]
    assert answers / batches > 1


def test_a_picture_is_encoded_once(server: Running) -> None:
    fresh = picture(77)
    body = question("What is it?", image=fresh)
    encoded = server.metric("mustela_pictures_encoded_total")
    first, second = server.post(body), server.post({**body, "max_tokens": 5})
    assert server.metric("mustela_pictures_encoded_total") == encoded + 1
    assert first.text.startswith(second.text)


@pytest.mark.slow
def test_several_pictures_each_with_its_region(server: Running) -> None:
    body = question("Compare <region> with <region>.", image=picture(1))
    part = {"type": "image_url", "image_url": {"url": data_url(picture(2))}}
    body["messages"][0]["content"].insert(1, part)
    boxes = [{"type": "box", "xyxy": [4, 5, 40, 44]}] * 2
    last = server.post({**body, "regions": boxes})
    told = server.post({**body, "regions": [{**box, "image_index": 1} for box in boxes]})
    other = server.post({**body, "regions": [{**boxes[0], "image_index": 0}, boxes[1]]})
    assert last.text == told.text != other.text


def test_the_model_is_listed_and_others_are_not_found(server: Running) -> None:
    listed = server.get("/v1/models").json["data"]
    assert [model["id"] for model in listed] == ["tiny"]
    assert server.get("/v1/models/tiny").json == listed[0]
    assert server.get("/v1/models/some/other").json["error"]["code"] == "model_not_found"
    reply = server.post({**question("Is it?"), "model": "gpt-5"})
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
