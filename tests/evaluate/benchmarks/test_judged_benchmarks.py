"""DLC-Bench and Ferret-Bench with a stand-in for the judge on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.benchmarks.conftest import ScoreTexts, coco, picture, values, write_json, write_lines
from tests.evaluate.benchmarks.stand_in import StandIn

from mustela.errors import ConfigError
from mustela.evaluate.benchmarks import ScoreTools
from mustela.evaluate.benchmarks.dlc_bench import read_choice, score_object
from mustela.evaluate.benchmarks.ferret_bench import read_ratings
from mustela.evaluate.benchmarks.judge import ChatJudge
from mustela.evaluate.chat_client import ChatClient, RequestError


def prompt_of(request: dict[str, Any]) -> str:
    text: str = request["messages"][0]["content"]
    return text


def test_the_client_tries_again_and_says_why_it_gave_up(server: StandIn) -> None:
    statuses: list[str | int] = [503, 429, "fine"]
    server.reply = lambda request: statuses.pop(0)
    reply = server.client(key="secret").ask([{"role": "user", "content": "x"}], max_tokens=5)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("fine", 100, 10)
    assert server.keys == ["Bearer secret"] * 3
    server.reply = lambda request: 401
    with pytest.raises(RequestError, match="status 401"):
        server.client().ask([], max_tokens=5)
    assert len(server.requests) == 4  # a refusal is final
    with pytest.raises(ConfigError, match="starts with http"):
        ChatClient("localhost:8000", "x")


def test_the_judge_remembers_counts_and_stops(server: StandIn, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "judge.jsonl"
    judge = ChatJudge(server.client(), cache, price=(2.0, 10.0), budget=0.0005)
    assert [judge.ask("one"), judge.ask("one"), judge.ask("two")] == ["A", "A", "A"]
    assert judge.usage() == {
        "model": "stand-in",
        "requests": 2,
        "from_cache": 1,
        "failures": 0,
        "prompt_tokens": 200,
        "completion_tokens": 20,
        "cost": pytest.approx(2 * (100 * 2 + 10 * 10) / 1e6),
    }
    with pytest.raises(ConfigError, match=r"budget of 0\.00"):
        judge.ask("three")
    with cache.open("a") as file:
        file.write('{"key": "cut o')
    again = ChatJudge(server.client(), cache)
    assert again.ask("two") == "A"
    assert again.requests == 0
    server.reply = lambda request: 400
    assert [again.ask(str(number)) for number in range(4)] == [None] * 4
    with pytest.raises(ConfigError, match="failed 5 times in a row"):
        again.ask("4")
    with pytest.raises(ConfigError, match="needs --judge_price"):
        ChatJudge(server.client(), cache, budget=1.0)


@pytest.fixture
def dlc(tmp_path: Path) -> Path:
    picture(tmp_path / "images" / "a.jpg")
    folder = tmp_path / "annotations"
    write_json(folder / "annotations.json", coco(["a.jpg"], [(0, 0, [10, 10, 20, 20])] * 2, ["thing"]))
    write_json(folder / "class_names.json", {"0": "dog", "1": "cat"})
    questions = [
        {
            "question": "Colour?",
            "choices": [["Brown", 1], ["Green", -1], ["Not said", 0]],
            "type": "positive",
        },
        {"question": "Wings?", "choices": [["Mentioned", -1], ["Not mentioned", 1]], "type": "negative"},
    ]
    write_json(folder / "qa.json", {"0": questions, "1": questions})
    return tmp_path


def dlc_judge(request: dict[str, Any]) -> str:
    """A steady judge: it finds the right choice under whatever letter it stands."""
    prompt = prompt_of(request)
    description = prompt.split("The description is:\n")[1].split("\n\nFrom the")[0]
    name = "dog" if "is dog" in prompt else "cat"
    if "likely" in prompt:
        wanted = "Yes" if name in description else "No"
    elif "Colour?" in prompt:
        wanted = "Brown" if "brown" in description else "Not said"
    else:
        wanted = "Not mentioned"
    line = next(line for line in prompt.splitlines() if line.endswith(f". {wanted}"))
    return line.split(".")[0]


def test_dlc_bench(dlc: Path, tmp_path: Path, server: StandIn, score_texts: ScoreTexts) -> None:
    server.reply = dlc_judge
    judge = ChatJudge(server.client(), tmp_path / "judge.jsonl")
    answers = {"0": "A brown dog.", "1": "A house."}
    scored = score_texts("dlc_bench", dlc, answers, tools=ScoreTools(judge=judge))
    # The dog: 1 and 1. The cat is not recognised: min(0, 0) and min(0, 1).
    assert values(scored) == {"average": 0.5, "positive": 0.5, "negative": 0.5, "recognised": 0.5}
    details = scored.metrics["details"]
    assert details["same_choice_in_turned_order"] == 1.0
    assert details["judge"]["requests"] == 12
    again = ChatJudge(server.client(), tmp_path / "judge.jsonl")
    score_texts("dlc_bench", dlc, answers, tools=ScoreTools(judge=again))
    assert (again.requests, again.from_cache) == (0, 12)
    # Whoever always takes the first place is found out.
    server.reply = lambda request: "A"
    first = ChatJudge(server.client(), tmp_path / "first.jsonl")
    scored = score_texts("dlc_bench", dlc, answers, tools=ScoreTools(judge=first))
    assert scored.metrics["details"]["same_choice_in_turned_order"] == 0.0


def test_dlc_bench_without_a_judgement(
    dlc: Path, tmp_path: Path, server: StandIn, score_texts: ScoreTexts
) -> None:
    server.reply = lambda request: 400 if "cat" in prompt_of(request) else dlc_judge(request)
    judge = ChatJudge(server.client(), tmp_path / "judge.jsonl")
    tools = ScoreTools(judge=judge, swap=False)
    scored = score_texts("dlc_bench", dlc, {"0": "A brown dog.", "1": "A house."}, tools=tools)
    assert scored.metrics["figures"]["average"]["n"] == 1
    assert scored.metrics["figures"]["average"]["value"] == 1.0
    assert scored.metrics["details"]["objects_without_a_judgement"] == 1
    assert scored.metrics["details"]["judge"]["failures"] == 1
    with pytest.raises(ConfigError, match="needs a judge"):
        score_texts("dlc_bench", dlc, {})


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Brown", 0),
        ("b", 1),
        ("B.", 1),
        ("B. Green", 1),
        ("The answer is green.", 1),
        ("Not brown but green", 1),
        ("C) nothing of that", 2),
        ("not", 2),
        ("blue", None),
        ("", None),
    ],
)
def test_choices_are_read(text: str, choice: int | None) -> None:
    assert read_choice(text, ["Brown", "Green", "Not said"]) == choice


def test_an_object_with_positive_questions_alone() -> None:
    questions = [
        {"type": "recognition", "choices": [["Yes", 1], ["No", 0]]},
        {"type": "positive", "choices": [["x", 1], ["y", -1]]},
    ]
    assert score_object(questions, [0, 1]) == {"recognised": 1.0, "positive": -1.0}
    assert score_object(questions, [1, 0]) == {"recognised": 0.0, "positive": 0.0}
    assert score_object(questions, [0, None]) == {"recognised": 1.0, "positive": 0.0}


@pytest.fixture
def ferret(tmp_path: Path) -> Path:
    picture(tmp_path / "val2014" / "a.jpg")
    for part in ("refer_desc", "refer_reason", "ground_conv"):
        question = {"question_id": 1, "image": "a.jpg", "text": "What is it?"}
        if part != "ground_conv":
            question |= {"text": "What is <bbox_location0>?", "box_x1y1x2y2": [[1, 2, 30, 40]]}
        write_lines(tmp_path / part / "question.jsonl", [{**question, "image_w": 100, "image_h": 50}])
        write_lines(tmp_path / part / "answer.jsonl", [{"question_id": 1, "text": "REFERENCE"}])
        write_lines(tmp_path / part / "context.jsonl", [{"image": "a.jpg", "text": "A dog on a lawn."}])
    return tmp_path


def test_ferret_bench(ferret: Path, tmp_path: Path, server: StandIn, score_texts: ScoreTexts) -> None:
    def reply(request: dict[str, Any]) -> str:
        # Likes the first place by 2, and the reference by 2: 10 - 6 in the published order, 8 - 8 turned.
        prompt = prompt_of(request)
        assert "A dog on a lawn." in prompt
        return "10 6\nbecause" if prompt.index("REFERENCE") < prompt.index("MINE") else "8 8"

    server.reply = reply
    judge = ChatJudge(server.client(), tmp_path / "judge.jsonl")
    answers = {f"{part}-1": "MINE" for part in ("refer_desc", "refer_reason", "ground_conv")}
    scored = score_texts("ferret_bench", ferret, answers, tools=ScoreTools(judge=judge))
    found = values(scored)
    assert found["score_published_order"] == pytest.approx(0.6)
    assert found["score"] == found["score_refer_desc"] == pytest.approx(7 / 9, abs=1e-6)
    assert scored.metrics["details"]["mean_shift_by_order"] == 4.0
    assert any("the region [1, 2, 30, 40]" in prompt_of(request) for request in server.requests)


@pytest.mark.parametrize(
    ("text", "ratings"),
    [
        ("8 6", (8.0, 6.0)),
        ("\n7.5, 9\nBecause", (7.5, 9.0)),
        ("Both are good", None),
        ("8", None),
        ("11 3", None),
    ],
)
def test_ratings_are_read(text: str, ratings: tuple[float, float] | None) -> None:
    assert read_ratings(text) == ratings
