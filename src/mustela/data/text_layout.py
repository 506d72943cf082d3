"""Prompts that are put together from fixed pieces of text around the turns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mustela.data.message import Message, Round, Slot, split_rounds
from mustela.data.prompt_text import PromptWriter
from mustela.errors import RecordError, TemplateError

__all__ = ["TextLayout"]


@dataclass(frozen=True)
class TextLayout:
    """The pieces of text between the turns of a conversation.

    A prompt is `start`, the system text between `system_before` and `system_after`, and for each round
    `round_before` (not in the first round), the question between `question_before` and `question_after`,
    `answer_before` (this far goes the prompt of a generation), `answer_lead`, the answer, `answer_end` (from
    `answer_lead` to here all is supervised) and `answer_after`.

    Attributes:
        system: system text of conversations that bring none. An empty one leaves out what stands around it.
        system_in_question: the system text stands inside the first question, after `question_before`.
        picture_and_answer_only: of the question only its pictures are kept, and there is one round (the
            original's pairs of pictures and captions).
        stops: strings at which a generation ends.
        bos, eos: which strings in the pieces mean the beginning and the end of a sequence. A tokenizer that
            has other tokens for them gets its own (see `for_tokenizer`).
    """

    system: str = ""
    start: str = ""
    system_before: str = ""
    system_after: str = ""
    system_in_question: bool = False
    round_before: str = ""
    question_before: str = ""
    question_after: str = ""
    answer_before: str = ""
    answer_lead: str = ""
    answer_end: str = ""
    answer_after: str = ""
    picture_and_answer_only: bool = False
    stops: tuple[str, ...] = ()
    bos: str = ""
    eos: str = ""

    def __post_init__(self) -> None:
        if not self.answer_end:
            raise TemplateError("a template needs answer_end, the text that ends an answer, such as </s>")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TextLayout:
        """Return the layout that `to_json` wrote; keys that are missing keep their defaults."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise TemplateError(f"unknown keys in a template: {unknown}; known are {sorted(known)}")
        return cls(**{**data, "stops": tuple(data.get("stops", ()))})

    def to_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, fit for JSON."""
        values = asdict(self)
        changed = [field.name for field in fields(self) if values[field.name] != field.default]
        return {**{name: values[name] for name in changed}, "stops": list(self.stops)}

    def for_tokenizer(self, *, tokens: Collection[str], bos: str | None, eos: str | None) -> TextLayout:
        """Return the layout with the tokenizer's own begin and end of sequence where it lacks the layout's.

        A template that ends answers with `</s>` would otherwise write four or five ordinary tokens on a
        tokenizer without `</s>`, and generation would not end at its end-of-sequence token.

        Args:
            tokens: the control tokens of the tokenizer.
            bos: its begin of sequence, if it has one.
            eos: its end of sequence, if it has one.
        """
        changes: dict[str, str] = {}
        if self.bos and self.bos not in tokens:
            changes[self.bos] = bos or ""
        if self.eos and self.eos not in tokens and eos:
            changes[self.eos] = eos
        if not changes:
            return self
        data = self.to_json()
        for old, new in changes.items():
            data = {key: _exchange(key, value, old, new) for key, value in data.items()}
        return TextLayout.from_json(data)

    def write(
        self, writer: PromptWriter, messages: Sequence[Message], *, add_generation_prompt: bool
    ) -> None:
        """Write a conversation.

        Raises:
            RecordError: the turns don't add up, or the layout can't hold them.
        """
        system, rounds = split_rounds(messages)
        if self.picture_and_answer_only:
            rounds = (_picture_and_answer(rounds),)
        writer.control(self.start)
        if not self.system_in_question:
            self._write_system(writer, system)
        for index, each in enumerate(rounds):
            writer.control(self.round_before if index else "")
            writer.control(self.question_before)
            if index == 0 and self.system_in_question:
                self._write_system(writer, system)
            writer.parts(each.question.parts)
            writer.control(self.question_after)
            if each.answer is not None:
                self._write_answer(writer, each.answer)
            elif add_generation_prompt:
                writer.control(self.answer_before)

    def _write_system(self, writer: PromptWriter, message: Message | None) -> None:
        parts = (self.system,) if message is None else message.parts
        if any(parts):
            writer.control(self.system_before)
            if message is None:
                writer.control(self.system)
            else:
                writer.parts(parts)
            writer.control(self.system_after)

    def _write_answer(self, writer: PromptWriter, answer: Message) -> None:
        writer.control(self.answer_before)
        start = writer.position
        writer.control(self.answer_lead)
        writer.parts(answer.parts)
        writer.control(self.answer_end)
        writer.answer(start, writer.position)
        writer.control(self.answer_after)


def _exchange(key: str, value: Any, old: str, new: str) -> Any:
    if key in {"bos", "eos"}:
        return new if value == old else value
    if key == "stops":
        exchanged = (new if stop == old else stop for stop in value)
        return [stop for stop in dict.fromkeys(exchanged) if stop]
    return value.replace(old, new) if isinstance(value, str) and key != "system" else value


def _picture_and_answer(rounds: Sequence[Round]) -> Round:
    question = rounds[0].question
    if len(rounds) != 1:
        raise RecordError(
            f"this template holds a picture and one answer, but the conversation has {len(rounds)} rounds; "
            "split the record, or use a template for conversations such as v1"
        )
    if not question.count(Slot.IMAGE):
        raise RecordError(
            "turn 0: this template holds a picture and its caption, but the question has no <image>; "
            "use a template for conversations such as v1"
        )
    if question.count(Slot.REGION):
        raise RecordError(
            "turn 0: this template drops the text of the question, so its regions would be lost; "
            "use a template for conversations such as v1"
        )
    pictures = tuple(part for part in question.parts if part is Slot.IMAGE)
    return replace(rounds[0], question=replace(question, parts=pictures))
