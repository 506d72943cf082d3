from __future__ import annotations

import pytest

from mustela.data.message import Message, Round, Slot, split_rounds
from mustela.errors import RecordError

Q = Message("user", (Slot.IMAGE, "\nWhat is ", Slot.REGION, "?"))
A = Message("assistant", ("A dog.",))


def test_a_message_counts_its_slots_and_knows_its_text() -> None:
    assert (Q.count(Slot.IMAGE), Q.count(Slot.REGION)) == (1, 1)
    assert Q.plain_text == "\nWhat is ?"


def test_text_that_looks_like_a_slot_is_text() -> None:
    assert Message("user", ("<image>",)).count(Slot.IMAGE) == 0


def test_rounds_and_system_text_are_told_apart() -> None:
    system = Message("system", ("Be brief.",))
    assert split_rounds([system, Q, A, Q]) == (system, (Round(Q, A), Round(Q, None)))


def test_an_answer_before_the_first_question_is_left_out() -> None:
    assert split_rounds([A, Q, A]) == (None, (Round(Q, A),))


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "no question"),
        ([A], "no question"),
        ([Q, Q, A], "turn 1: found a turn of the user"),
        ([Q, A, A], "turn 2: found a turn of the assistant"),
        ([Q, A, Message("system", ("late",)), A], "turn 2: found a turn of the system"),
        ([Q, Message("assistant", ("",))], "turn 1: the answer is empty"),
        ([Q, Message("assistant", (" \n",)), Q, A], "turn 1: the answer is empty"),
        ([Message("assistant", (Slot.REGION,)), Q, A], "starts with an answer"),
    ],
)
def test_turns_that_do_not_add_up_are_refused(messages: list[Message], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        split_rounds(messages)
