"""Bodies, regions and pictures that nobody thought of: always an answer or a reason, never a mistake.

MUSTELA_FUZZ_EXAMPLES says how many of each kind are tried.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.serve.running import MODEL, Running, data_url, picture, question, running

from mustela.errors import MustelaError
from mustela.infer import Predictor
from mustela.regions import find_regions, region_from_json
from mustela.serve.errors import ApiError
from mustela.serve.fetching import Fetcher
from mustela.serve.images import PictureCache, read_picture
from mustela.serve.limits import Limits

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("MUSTELA_FUZZ_EXAMPLES", "80"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SMALL = Limits(new_tokens=8, default_new_tokens=4, image_pixels=10**6)

numbers = st.one_of(st.integers(-100, 200), st.floats(-1e3, 1e3), st.integers(-(10**30), 10**30), st.floats())
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
regions = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["point", "box", "scribble", "polygon", "mask", "x"])},
        optional={
            "xy": st.lists(numbers, max_size=3),
            "xyxy": st.lists(numbers, max_size=5),
            "points": st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=9),
            "width": numbers,
            "rings": st.lists(st.lists(numbers, min_size=6, max_size=8), max_size=3),
            "size": st.sampled_from([[48, 64], [1, 1], [0, 0], [10**9, 10**9], [48, "64"]]),
            "counts": st.one_of(st.text(max_size=30), st.lists(st.integers(-5, 3072), max_size=6)),
            "image_index": st.one_of(st.integers(-2, 2), st.none()),
        },
    ),
    junk,
)


@pytest.fixture(scope="module")
def small(tiny: Predictor) -> Iterator[Running]:
    with running(tiny, limits=SMALL) as server:
        yield server


def check(server: Running, body: bytes) -> None:
    reply = server.post(body)
    assert reply.status in (200, 400, 404, 413), reply.body
    if reply.status != 200:
        error = reply.json["error"]
        assert isinstance(error["message"], str)
        assert len(error["message"]) <= 600
        assert "Traceback" not in error["message"]


@FUZZ
@given(st.lists(regions, max_size=3), st.text(max_size=30), st.integers(0, 3))
def test_regions_in_requests(small: Running, given_regions: list[Any], text: str, placeholders: int) -> None:
    asked = f"{text} {'<region> ' * placeholders}"
    body = json.dumps(question(asked, image=picture(), regions=given_regions, max_tokens=2))
    check(small, body.encode())


@FUZZ
@given(st.data())
def test_damaged_bodies(small: Running, data: st.DataObject) -> None:
    box = {"type": "box", "xyxy": [4, 5, 40, 44]}
    body = bytearray(json.dumps(question("<region>?", image=picture(), regions=[box], max_tokens=2)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.one_of(st.integers(0, 120), st.integers(0, len(body))))
        end = start + data.draw(st.integers(0, 5))
        body[start:end] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"}", b"[", b"-1"]))
        )
    check(small, bytes(body))


@FUZZ
@given(st.dictionaries(st.sampled_from(["model", "messages", "n", "stop", "stream", "seed", "x"]), junk))
def test_bodies_of_any_json(small: Running, fields: dict[str, Any]) -> None:
    check(small, json.dumps({"model": MODEL, **fields}).encode())
    check(small, json.dumps({**question("Is it?", max_tokens=2), **fields, "stream": False}).encode())


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_described_interface(small: Running, mode: str) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{small.address}/openapi.json")
    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    for path, method in (
        ("/v1/chat/completions", "POST"),
        ("/v1/models", "GET"),
        ("/v1/models/{name}", "GET"),
        ("/healthz", "GET"),
        ("/readyz", "GET"),
    ):
        strategy = schema[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(mode))
        if mode == "negative" and method == "GET":
            continue

        @FUZZ
        @given(case=strategy)
        def conforms(case: Any) -> None:
            if isinstance(case.body, dict) and mode == "positive":
                case.body["model"] = MODEL
            case.call_and_validate(checks=wanted)

        conforms()


@FUZZ
@given(regions)
def test_region_json(value: Any) -> None:
    with suppress(MustelaError):
        assert region_from_json(value, ignore=("image_index",)).raster((64, 48)).shape == (48, 64)


TOKENS = st.sampled_from(
    ["[", "]", "(", ")", ",", " ", "{", "}", '"', "<box>", "</box>", "<loc0123>", "bbox_2d", ":", "e400", "-"]
)


@FUZZ
@given(st.lists(st.one_of(TOKENS, st.integers(-9, 1999).map(str), st.text(max_size=5)), max_size=60))
def test_answers_of_any_text(parts: list[str]) -> None:
    text = "".join(parts)
    for found in find_regions(text, (640, 480)).regions:
        x1, y1, x2, y2 = found.region.bounds_xyxy()
        assert 0 <= x1 <= x2 <= 640
        assert 0 <= y1 <= y2 <= 480
        assert 0 <= found.span[0] < found.span[1] <= len(text)


def files() -> list[bytes]:
    made = []
    for kind in ("png", "jpeg", "gif", "webp", "bmp", "tiff", "ppm", "ico"):
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(buffer, kind)
        made.append(buffer.getvalue())
    return made


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@FUZZ
@given(st.data())
def test_damaged_pictures(tiny: Predictor, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(files())))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.one_of(st.integers(0, 60), st.integers(0, len(content))))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    del content[data.draw(st.integers(0, len(content))) :]
    with suppress(ApiError):
        found = read_picture(
            data_url(bytes(content)),
            processor=tiny.processor,
            cache=PictureCache(1, 1),
            fetcher=Fetcher(),
            limits=SMALL,
            as_mask=data.draw(st.booleans()),
        )
        assert found.size_wh[0] * found.size_wh[1] <= SMALL.image_pixels
