"""Prompts written by a Jinja chat template, a tokenizer's own or a user's."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mustela.data.jinja_source import run_template
from mustela.data.message import Message, Slot, split_rounds
from mustela.data.prompt_text import PromptWriter
from mustela.errors import TemplateError

__all__ = ["JinjaLayout"]

# What the messages hold while the template runs: private-use characters around a number. The template so
# never sees the text of a user and can't act on it.
_STAND_IN = re.compile("\ue000([0-9]+)\ue001")

Chat = list[dict[str, Any]]


@dataclass(frozen=True)
class JinjaLayout:
    """A chat template with what was found out about it when it was chosen.

    Attributes:
        source: the text of the template.
        made_for: the tokenizer that it was tried with, for messages.
        variables: what the template may name beside the messages: the tokenizer's special tokens.
        content_in_parts: messages are lists of parts (`{"type": "image"}`, `{"type": "text", ...}`), and the
            template writes the image token; otherwise they are strings with the image token in them.
        answer_end: the text that ends an answer.
        adds_answer_end: the template itself writes nothing that ends an answer, so it is put behind each.
        stops: strings at which a generation ends.
    """

    source: str
    made_for: str
    variables: tuple[tuple[str, str], ...]
    content_in_parts: bool
    answer_end: str
    adds_answer_end: bool
    stops: tuple[str, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> JinjaLayout:
        """Return the layout that `to_json` wrote."""
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise TemplateError(
                f"a stored chat template needs the keys {sorted(names)}, found {sorted(data)}"
            )
        variables = tuple((name, value) for name, value in data["variables"].items())
        return cls(**{**data, "variables": variables, "stops": tuple(data["stops"])})

    def to_json(self) -> dict[str, Any]:
        """Return all fields, fit for JSON."""
        return {**asdict(self), "variables": dict(self.variables), "stops": list(self.stops)}

    def write(
        self,
        writer: PromptWriter,
        messages: Sequence[Message],
        *,
        image_token: str,
        add_generation_prompt: bool,
    ) -> None:
        """Write a conversation.

        An answer is supervised from where the prompt of its generation ends to the end of its marker.

        Raises:
            RecordError: the turns don't add up.
            TemplateError: the template fails, drops or repeats text, or the prompt of a generation is not how
                the whole text begins.
        """
        system, rounds = split_rounds(messages)
        turns = [message for each in rounds for message in each.messages]
        chat = _Chat(self, image_token)
        for message in turns if system is None else [system, *turns]:
            chat.add(message)
        full = self._run(chat.messages, add_generation_prompt=add_generation_prompt)
        answers = [
            (self._answer_start(chat.messages[:index], full), chat.last_stand_in[index])
            for index, message in enumerate(chat.messages)
            if message["role"] == "assistant"
        ]
        where = _Writing(writer, full, chat.stand_ins, image_token if self.content_in_parts else None)
        where.check_slots(chat.expected_images, made_for=self.made_for)
        for start, stand_in in answers:
            writer.answer(where.written_at(start), where.written_at(self._answer_stop(full, stand_in)))

    def _run(self, messages: Chat, *, add_generation_prompt: bool) -> str:
        return run_template(
            self.source, messages, variables=dict(self.variables), add_generation_prompt=add_generation_prompt
        )

    def _answer_start(self, before: Chat, full: str) -> int:
        prompt = self._run(before, add_generation_prompt=True)
        if not full.startswith(prompt):
            at = next((i for i, (a, b) in enumerate(zip(prompt, full, strict=False)) if a != b), len(full))
            raise TemplateError(
                f"the chat template for {self.made_for!r} writes the past differently: before turn "
                f"{len(before)} the prompt of a generation has {prompt[at : at + 40]!r} at character {at}, "
                f"the whole conversation has {full[at : at + 40]!r}; train on one round a record, or name a "
                "template such as chatml"
            )
        return len(prompt)

    def _answer_stop(self, full: str, stand_in: str) -> int:
        after = full.index(stand_in) + len(stand_in)
        found = full.find(self.answer_end, after)
        if found < 0 or full[after:found].strip():
            raise TemplateError(
                f"the chat template for {self.made_for!r} writes {full[after : after + 40]!r} after an "
                f"answer, where {self.answer_end!r} is expected; name a template such as chatml"
            )
        return found + len(self.answer_end)


class _Chat:
    """The messages as the template gets them, and what stands in for what."""

    def __init__(self, layout: JinjaLayout, image_token: str) -> None:
        self._layout = layout
        self._image_token = image_token
        self.messages: Chat = []
        self.stand_ins: list[str | Slot] = []
        self.last_stand_in: list[str] = []
        self.expected_images = 0

    def add(self, message: Message) -> None:
        content: list[dict[str, str]] = []
        text = ""
        for part in _joined(message.parts):
            if part is Slot.IMAGE:
                self.expected_images += 1
                if self._layout.content_in_parts:
                    content += [{"type": "text", "text": text}] if text else []
                    content.append({"type": "image"})
                    text = ""
                    continue
            if isinstance(part, str) and (core := part.strip()):
                # Blanks stay outside, so that a template that trims them trims these.
                before, _, after = part.partition(core)
                text += before + self._stand_in(core) + after
            else:
                text += self._stand_in(part)
        if message.role == "assistant" and self._layout.adds_answer_end:
            text += self._layout.answer_end
        content += [{"type": "text", "text": text}] if text else []
        self.messages.append(
            {"role": message.role, "content": content if self._layout.content_in_parts else text}
        )
        self.last_stand_in.append(_text_of(len(self.stand_ins) - 1))

    def _stand_in(self, what: str | Slot) -> str:
        self.stand_ins.append(what)
        return _text_of(len(self.stand_ins) - 1)


class _Writing:
    """Writes what the template wrote, with the stand-ins replaced, and remembers where each went."""

    def __init__(
        self, writer: PromptWriter, full: str, stand_ins: Sequence[str | Slot], image_token: str | None
    ) -> None:
        self._writer = writer
        self._image_token = image_token
        self._read: list[int] = []
        self._written: list[int] = []
        self._seen: list[int] = []
        self._images = 0
        self._stand_ins = stand_ins
        position = 0
        for match in _STAND_IN.finditer(full):
            self._template_text(full[position : match.start()], position)
            self._mark(match.start())
            number = int(match.group(1))
            self._seen.append(number)
            self._images += stand_ins[number] is Slot.IMAGE
            writer.parts((stand_ins[number],))
            position = match.end()
        self._template_text(full[position:], position)

    def written_at(self, position: int) -> int:
        """Return where a character of the template's text was written."""
        index = bisect_right(self._read, position) - 1
        return self._written[index] + position - self._read[index]

    def check_slots(self, expected_images: int, *, made_for: str) -> None:
        if self._seen != list(range(len(self._stand_ins))):
            raise TemplateError(
                f"the chat template for {made_for!r} drops, repeats or reorders the text of a turn; name "
                "another template, such as chatml"
            )
        if self._images != expected_images:
            raise TemplateError(
                f"the chat template for {made_for!r} writes {self._images} image tokens for "
                f"{expected_images} pictures; name another template, such as chatml"
            )

    def _mark(self, position: int) -> None:
        self._read.append(position)
        self._written.append(self._writer.position)

    def _template_text(self, text: str, position: int) -> None:
        pieces = text.split(self._image_token) if self._image_token else [text]
        for index, piece in enumerate(pieces):
            if index and self._image_token:
                self._images += 1
                self._writer.slot(Slot.IMAGE)
                position += len(self._image_token)
            self._mark(position)
            self._writer.control(piece)
            position += len(piece)


def _text_of(number: int) -> str:
    return f"\ue000{number}\ue001"


def _joined(parts: Sequence[str | Slot]) -> list[str | Slot]:
    joined: list[str | Slot] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return joined
