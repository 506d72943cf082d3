"""Conversation templates: how turns become the text of a prompt."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mustela.data.jinja_layout import JinjaLayout
from mustela.data.jinja_probe import probe_template
from mustela.data.message import Message
from mustela.data.prompt_text import Prompt, PromptWriter
from mustela.data.text_layout import TextLayout
from mustela.errors import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["Template", "get_template", "template_names"]


@dataclass(frozen=True)
class Template:
    """A conversation template with all of its text, so that a checkpoint can hold it.

    Attributes:
        name: how it was asked for, for messages and reports.
        layout: the text around the turns, or a chat template.
    """

    name: str
    layout: TextLayout | JinjaLayout

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The strings at which a generation ends; they are not part of the answer."""
        return self.layout.stops

    def stop_token_ids(self, tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
        """Return the ids at which a generation ends: stop strings that are one token, and end of sequence."""
        added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
        ids = [added[stop] for stop in self.stop_strings if stop in added]
        if tokenizer.eos_token_id is not None:
            ids.append(tokenizer.eos_token_id)
        return tuple(dict.fromkeys(ids))

    def render(
        self,
        messages: Sequence[Message],
        *,
        image_token: str,
        region_token: str,
        add_generation_prompt: bool = False,
        mm_use_im_start_end: bool = False,
    ) -> Prompt:
        """Return the text of a conversation and the spans in it.

        For training, all answers are written and supervised. For a generation the conversation ends with a
        question; the text then is exactly how the training text of the conversation with its answer begins.

        Args:
            messages: an optional system message, then questions and answers in turn.
            image_token: written for a picture.
            region_token: written for the features of a region.
            add_generation_prompt: end where the model is to answer.
            mm_use_im_start_end: put `<im_start>` and `<im_end>` around each image token.

        Raises:
            RecordError: the turns don't add up, or an answer is empty.
            TemplateError: the template can't write them.
        """
        if add_generation_prompt and (not messages or messages[-1].role != "user"):
            raise TemplateError("a prompt for a generation ends with a question; leave out the last answer")
        writer = PromptWriter(
            image_token=image_token, region_token=region_token, mm_use_im_start_end=mm_use_im_start_end
        )
        if isinstance(self.layout, JinjaLayout):
            self.layout.write(
                writer, messages, image_token=image_token, add_generation_prompt=add_generation_prompt
            )
        else:
            self.layout.write(writer, messages, add_generation_prompt=add_generation_prompt)
        return writer.prompt(is_generation=add_generation_prompt, template=self.name)

    def to_json(self) -> dict[str, Any]:
        """Return the whole template, fit for JSON."""
        kind = "jinja" if isinstance(self.layout, JinjaLayout) else "text"
        return {"name": self.name, "kind": kind, "layout": self.layout.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Template:
        """Return the template that `to_json` wrote.

        Raises:
            TemplateError: keys are missing or unknown.
        """
        try:
            name, kind, layout = data["name"], data.get("kind", "text"), data["layout"]
        except KeyError as error:
            raise TemplateError(f"a stored template needs the key {error}") from error
        if kind not in {"text", "jinja"}:
            raise TemplateError(f"template {name!r} is of kind {kind!r}; known are 'text' and 'jinja'")
        return cls(name, JinjaLayout.from_json(layout) if kind == "jinja" else TextLayout.from_json(layout))


def template_names() -> tuple[str, ...]:
    """Return the names that `get_template` knows, `auto` and aliases included."""
    return tuple(sorted([*_shipped(), "auto"]))


def get_template(
    name_or_path: str,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    image_token: str | None = None,
    chat_template: str | None = None,
) -> Template:
    """Return a template by its name or from a file.

    Args:
        name_or_path: a name in `template_names()`; `auto` for the tokenizer's own chat template; or a file:
            a Jinja chat template (`.jinja`, `.jinja2`, `.j2`), or a template as `Template.to_json` writes it
            (`.json`).
        tokenizer: the tokenizer of the prompts. A template whose begin or end of sequence it lacks is written
            with its own. Chat templates need it.
        image_token: what stands for a picture in the model's prompts; does a chat template write it?
        chat_template: for `auto`, used in place of the tokenizer's chat template, such as the processor's.

    Raises:
        TemplateError: the name is unknown, the file unreadable, or the template does not suit the tokenizer.
    """
    path = Path(name_or_path)
    if name_or_path == "auto":
        source = chat_template if chat_template is not None else _own_template(tokenizer)
        return _jinja("auto", source, tokenizer=tokenizer, image_token=image_token)
    if path.suffix in {".jinja", ".jinja2", ".j2"}:
        return _jinja(path.name, _read(path), tokenizer=tokenizer, image_token=image_token)
    if path.suffix == ".json":
        try:
            template = Template.from_json(json.loads(_read(path)))
        except json.JSONDecodeError as error:
            raise TemplateError(f"template file {path} is not JSON: {error}") from error
    else:
        shipped = _shipped()
        if name_or_path not in shipped:
            near = difflib.get_close_matches(name_or_path, template_names(), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise TemplateError(
                f"unknown template {name_or_path!r}; {hint}Known are {', '.join(template_names())}, and "
                "files that end in .jinja or .json"
            )
        template = Template(name_or_path, shipped[name_or_path])
    if tokenizer is None or isinstance(template.layout, JinjaLayout):
        return template
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()}
    bos, eos = (str(t) if t is not None else None for t in (tokenizer.bos_token, tokenizer.eos_token))
    return Template(template.name, template.layout.for_tokenizer(tokens=tokens, bos=bos, eos=eos))


def _jinja(
    name: str, source: str, *, tokenizer: PreTrainedTokenizerFast | None, image_token: str | None
) -> Template:
    if tokenizer is None:
        raise TemplateError(f"template {name!r} is a chat template and needs the tokenizer to be tried with")
    return Template(name, probe_template(source, tokenizer=tokenizer, image_token=image_token, name=name))


def _own_template(tokenizer: PreTrainedTokenizerFast | None) -> str:
    if tokenizer is None:
        raise TemplateError("template 'auto' is the tokenizer's own and needs the tokenizer")
    own: str | dict[str, str] | None = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if not own:
        raise TemplateError(
            f"template 'auto': the tokenizer {tokenizer.name_or_path or type(tokenizer).__name__!r} has no "
            f"chat template; name one of {', '.join(sorted(_shipped()))}"
        )
    return own


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"template file {path} can't be read: {error}") from error


@lru_cache(maxsize=1)
def _shipped() -> dict[str, TextLayout]:
    layouts: dict[str, TextLayout] = {}
    for file in resources.files("mustela.data").joinpath("templates_data").iterdir():
        if file.name.endswith(".json"):
            data = json.loads(file.read_text(encoding="utf-8"))
            layouts |= dict.fromkeys([data["name"], *data["aliases"]], TextLayout.from_json(data["layout"]))
    return layouts
