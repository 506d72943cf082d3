"""The official client, unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serve.running import Running, data_url, picture, question, running

from mustela.infer import Predictor
from mustela.regions import Box
from mustela.serve.limits import Limits

pytestmark = pytest.mark.slow

BOX = {"type": "box", "xyxy": [4, 5, 40, 44]}
CONTENT = [
    {"type": "image_url", "image_url": {"url": data_url(picture()), "detail": "high"}},
    {"type": "text", "text": "What is <region>?"},
]


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: Any, **settings: Any) -> Any:
    messages = [{"role": "user", "content": CONTENT}]
    body = {"regions": [BOX]}
    return client.chat.completions.create(
        model="tiny", messages=messages, max_completion_tokens=12, extra_body=body, **settings
    )


def test_an_answer_with_its_regions_and_usage(client: Any, tiny: Predictor) -> None:
    alone = Predictor(tiny.model, tiny.processor)
    alone.set_image(picture())
    expected = alone.ask("What is <region>?", regions=[Box(4, 5, 40, 44)], max_new_tokens=12)
    response = ask(client)
    assert response.choices[0].message.content == expected.text
    assert response.choices[0].message.regions == []
    assert response.choices[0].finish_reason in ("stop", "length")
    assert response.usage.completion_tokens <= 12
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_an_answer_goes_into_the_next_request_as_it_came(client: Any) -> None:
    first = ask(client).choices[0].message
    messages = [{"role": "user", "content": CONTENT}, first, {"role": "user", "content": "Why?"}]
    response = client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=4, extra_body={"regions": [BOX]}, user="me", store=False
    )
    assert response.usage.completion_tokens <= 4


def test_a_stream(client: Any) -> None:
    whole = ask(client, n=2, temperature=0.8, seed=1, top_p=0.9)
    texts, regions = ["", ""], [None, None]
    usage = None
    for chunk in ask(
        client, n=2, temperature=0.8, seed=1, top_p=0.9, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                regions[choice.index] = choice.delta.regions
    assert texts == [choice.message.content for choice in whole.choices]
    assert regions == [[], []]
    assert usage == whole.usage


def test_errors_have_the_clients_own_kinds(client: Any, tiny: Predictor) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(client, temperature=3)
    with pytest.raises(openai.NotFoundError, match="no model of that name"):
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "?"}])
    with running(tiny, keys=["right"], limits=Limits(seconds=0.02)) as locked:
        with (
            openai.OpenAI(base_url=f"{locked.address}/v1", api_key="wrong") as wrong,
            pytest.raises(openai.AuthenticationError),
        ):
            wrong.models.list()
        with openai.OpenAI(base_url=f"{locked.address}/v1", api_key="right", max_retries=0) as right:
            body = question("Is it?", max_tokens=200)
            with pytest.raises(openai.InternalServerError, match="not ready in time"):
                right.chat.completions.create(**body)
            with pytest.raises(openai.APIError, match="not ready in time"):
                list(right.chat.completions.create(**body, stream=True))


def test_the_asynchronous_client(server: Running) -> None:
    openai = pytest.importorskip("openai")

    async def several() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
            asked = [client.chat.completions.create(**question(f"Is it {n}?")) for n in range(6)]
            return [response.choices[0].message.content for response in await asyncio.gather(*asked)]

    assert asyncio.run(several()) == [server.post(question(f"Is it {n}?")).text for n in range(6)]
