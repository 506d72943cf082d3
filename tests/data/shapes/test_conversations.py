"""No answer stands in an earlier turn, and none can be guessed without a look at the picture."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.data.shapes.oracle import find_leaks, read_rounds
from tests.data.shapes.scenes import Sample

YES, NO = "Yes.", "No."


def all_records(samples: list[Sample]):
    for sample in samples:
        for name, records in sample.records.items():
            for record in records:
                if not name.startswith("train_apart"):  # whose rounds never see each other
                    yield sample, name, record


def test_no_answer_can_be_read_off_an_earlier_turn(samples: list[Sample]) -> None:
    leaks, rounds = [], 0
    for sample, _, record in all_records(samples):
        leaks += find_leaks(record, sample.scene, sample.world)
        rounds += len(record["conversations"]) // 2
    assert rounds > 2000
    assert leaks == []


def test_the_check_finds_a_place_given_away_by_an_earlier_answer(samples: list[Sample]) -> None:
    sample = next(sample for sample in samples if "train" in sample.records)
    detect = next(record for record in sample.records["train"] if record["id"].endswith("detect"))
    leaky = dict(detect)
    for key in ("conversations", "box_x1y1x2y2", "masks"):
        leaky[key] = [*detect[key], *detect[key]]
    assert len(find_leaks(leaky, sample.scene, sample.world)) >= 3


def test_held_out_questions_have_a_conversation_of_their_own(samples: list[Sample]) -> None:
    for _, name, record in all_records(samples):
        if name.startswith("val") or name.endswith("freeform"):
            assert len(record["conversations"]) == 2, record["id"]


def test_training_conversations_have_several_rounds(samples: list[Sample]) -> None:
    rounds = Counter(
        len(record["conversations"]) // 2 for _, name, record in all_records(samples) if name == "train"
    )
    assert sum(count for number, count in rounds.items() if number >= 3) > 0.4 * rounds.total()


@pytest.mark.parametrize("name", ["train", "val"])
def test_presence_answers_are_balanced_whatever_came_before(samples: list[Sample], name: str) -> None:
    answers: Counter[tuple[str, str]] = Counter()
    for sample, file, record in all_records(samples):
        before = "nothing"
        for item in read_rounds(record, sample.scene, sample.world) if file == name else []:
            if item.answer in (YES, NO) and not item.asked:
                answers[before, item.answer] += 1
                before = item.answer
    for before in {before for before, _ in answers}:
        yes, no = answers[before, YES], answers[before, NO]
        assert abs(yes - no) < 3.5 * (yes + no) ** 0.5, answers


def test_absent_objects_are_like_present_ones(samples: list[Sample]) -> None:
    alike, both_seen, total = 0, 0, 0
    for sample, _, record in all_records(samples):
        for item in read_rounds(record, sample.scene, sample.world):
            if item.answer == NO and not item.asked:
                ((colour, shape),) = item.words
                colours = any(thing.colour.name == colour for thing in sample.scene.things)
                shapes = any(thing.shape.name == shape for thing in sample.scene.things)
                alike += colours or shapes
                both_seen += colours and shapes
                total += 1
    assert alike > 0.95 * total
    assert both_seen > 0.2 * total


def test_relations_are_not_mostly_yes_or_no(samples: list[Sample]) -> None:
    answers = Counter(
        item.answer
        for sample, _, record in all_records(samples)
        for item in read_rounds(record, sample.scene, sample.world)
        if len(item.asked) == 2
    )
    assert set(answers) == {YES, NO}
    assert 0.4 < answers[YES] / answers.total() < 0.6


def test_counts_vary(samples: list[Sample]) -> None:
    counts = Counter(
        item.answer
        for sample, _, record in all_records(samples)
        for item in read_rounds(record, sample.scene, sample.world)
        if item.answer[:-1].isdigit()
    )
    assert {"0.", "1.", "2.", "3."} <= set(counts)
    assert max(counts.values()) < 0.6 * counts.total()
