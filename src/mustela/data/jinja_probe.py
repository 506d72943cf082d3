"""Finding out how a chat template writes messages, by trying it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mustela.data.jinja_layout import JinjaLayout
from mustela.data.jinja_source import run_template
from mustela.data.message import Message
from mustela.data.prompt_text import PromptWriter
from mustela.errors import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["probe_template"]

_QUESTION = "\ue010"
_ANSWER = "\ue011"


def probe_template(
    source: str, *, tokenizer: PreTrainedTokenizerFast, image_token: str | None, name: str
) -> JinjaLayout:
    """Return a chat template with what mustela has to know about it.

    Args:
        source: the text of the template.
        tokenizer: its special tokens are what the template may name and what ends an answer.
        image_token: what stands for a picture in the model's prompts; a template that writes pictures in
            another way gets messages with the token in their text.
        name: the template's name, for messages.

    Raises:
        TemplateError: the template fails, or a conversation of two rounds does not begin with the prompts of
            its generations.
    """
    made_for = tokenizer.name_or_path or type(tokenizer).__name__
    variables = {
        key: str(value) for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)
    }
    in_parts = _reads_parts(source, variables, image_token)
    chat = [_message("user", _QUESTION, in_parts), _message("assistant", _ANSWER, in_parts)]
    written = run_template(source, chat, variables=variables, add_generation_prompt=False)
    if written.count(_ANSWER) != 1:
        raise TemplateError(
            f"template {name!r} with tokenizer {made_for!r}: the template writes an answer "
            f"{written.count(_ANSWER)} times; name another template, such as chatml"
        )
    tail = written.partition(_ANSWER)[2]
    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    ends = [tail.index(token) + len(token) for token in specials if token in tail]
    end = tail[: min(ends)] if ends else tail
    adds_end = not end.strip()
    if adds_end:
        if not tokenizer.eos_token:
            raise TemplateError(
                f"template {name!r} with tokenizer {made_for!r}: neither the template nor the tokenizer has "
                "anything that ends an answer; set the tokenizer's eos_token or name another template"
            )
        end = str(tokenizer.eos_token)
    layout = JinjaLayout(
        source=source,
        made_for=made_for,
        variables=tuple(variables.items()),
        content_in_parts=in_parts,
        answer_end=end,
        adds_answer_end=adds_end,
        stops=(end.strip(),),
    )
    _try_two_rounds(layout, image_token=image_token or "<image>", name=name)
    return layout


def _message(role: str, text: str, in_parts: bool) -> dict[str, object]:
    return {"role": role, "content": [{"type": "text", "text": text}] if in_parts else text}


def _reads_parts(source: str, variables: Mapping[str, str], image_token: str | None) -> bool:
    """Tell whether the template takes messages as lists of parts and writes pictures as the model reads."""
    text = {"type": "text", "text": _QUESTION}
    try:
        bare, pictured = (
            run_template(
                source,
                [{"role": "user", "content": content}],
                variables=variables,
                add_generation_prompt=True,
            )
            for content in ([text], [{"type": "image"}, text])
        )
    except TemplateError:
        return False
    understood = bare.count(_QUESTION) == pictured.count(_QUESTION) == 1 and "'type'" not in pictured
    if not understood or bare == pictured:
        return False
    return image_token is None or pictured.count(image_token) == bare.count(image_token) + 1


def _try_two_rounds(layout: JinjaLayout, *, image_token: str, name: str) -> None:
    turns = [Message("user", ("a",)), Message("assistant", ("b",))] * 2
    writer = PromptWriter(image_token=image_token, region_token="<region>")
    try:
        layout.write(writer, turns, image_token=image_token, add_generation_prompt=False)
    except TemplateError as error:
        raise TemplateError(f"template {name!r} with tokenizer {layout.made_for!r}: {error}") from error
