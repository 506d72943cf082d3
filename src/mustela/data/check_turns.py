"""Checking the conversation of a record: roles in turn, no empty texts, a system text only in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from mustela.data.faults import FaultLog
from mustela.data.native import ROLES, SYSTEM_ROLE
from mustela.data.record import Turn


def read_turns(entries: object, log: FaultLog) -> tuple[list[Turn], str | None] | None:
    """Return the turns without their regions and the system text, or None where texts or roles can't be read.

    An order that is wrong only goes to the log, so that the rest of the record can be checked as well.
    """
    if not isinstance(entries, list) or not entries:
        message = "conversations is not a list." if entries else "conversations is empty."
        log.refuse("turns.empty", message, "It lists human and gpt in turn.", field="conversations")
        return None
    read = [_read_turn(entry, number, log) for number, entry in enumerate(entries)]
    complete = [turn for turn in read if turn is not None]
    if len(complete) < len(read):
        return None
    system = entries[0]["value"] if complete[0] == SYSTEM_ROLE else None
    turns = [turn for turn in complete if isinstance(turn, Turn)]
    _check_order(turns, len(complete) - len(turns), log)
    return turns, system


def _read_turn(entry: object, number: int, log: FaultLog) -> Turn | Literal["system"] | None:
    if not isinstance(entry, Mapping):
        log.refuse("turns.type", "the turn is not an object.", turn=number, field="conversations")
        return None
    role, text = entry.get("from"), entry.get("value")
    is_system = role == SYSTEM_ROLE
    if is_system and number:
        message = "a system turn after the first turn."
        log.refuse("turns.order", message, "Only the first may be one.", turn=number, field="from")
        return None
    if not is_system and (not isinstance(role, str) or role not in ROLES):
        message = f"the turn is from {role!r}."
        log.refuse("turns.role", message, "Use human, gpt or system.", turn=number, field="from")
        return None
    if not isinstance(text, str) or not text.strip():
        what = "empty" if isinstance(text, str) else f"{text!r}, which is not a text"
        message = f"the value of the {role} turn is {what}."
        log.refuse("turns.text", message, "Every turn needs a text.", turn=number, field="value")
        return None
    check_unicode(text, log, turn=number, field="value")
    return "system" if is_system else Turn(ROLES[str(role)], text)


def _check_order(turns: Sequence[Turn], first: int, log: FaultLog) -> None:
    """Check that human and gpt alternate; `first` is the index of the first turn in `conversations`."""
    names = {"user": "human", "assistant": "gpt"}
    for number, turn in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if turn.role != expected:
            message = f"the turn is from {names[turn.role]}, expected {names[expected]}."
            remedy = "Turns alternate and begin with human."
            log.refuse("turns.order", message, remedy, turn=number + first, field="from")
            return
    if not turns:
        message = "there is only a system turn."
    elif len(turns) % 2:
        message = "the last turn is a question without an answer."
    else:
        return
    last = len(turns) - 1 + first
    log.refuse("turns.order", message, "A conversation ends with gpt.", turn=last, field="conversations")


def check_unicode(text: str, log: FaultLog, *, turn: int | None = None, field: str) -> None:
    """Refuse a text that can't be written as UTF-8 again."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        start = error.start
    else:
        return
    message = f"the text holds half a surrogate pair at character {start}."
    log.refuse("text.surrogate", message, "Remove it.", turn=turn, field=field)
