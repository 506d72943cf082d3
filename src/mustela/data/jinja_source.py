"""Running the source of a chat template."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mustela.errors import TemplateError

__all__ = ["run_template"]

# A prompt must not change from one day to the next, so templates that write today's date get this one.
_TODAY = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)


def run_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    variables: Mapping[str, str],
    add_generation_prompt: bool,
) -> str:
    """Return what a chat template makes of messages.

    Raises:
        TemplateError: the template has a syntax error, fails, or refuses the messages.
    """
    try:
        return _compiled(source).render(
            messages=messages, add_generation_prompt=add_generation_prompt, tools=None, **variables
        )
    except (JinjaError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise TemplateError(
            f"the chat template fails: {error} (the template begins {source[:60]!r}); "
            "name one of mustela's templates instead, such as chatml"
        ) from error


class _GenerationBlock(Extension):
    """Reads `{% generation %}...{% endgeneration %}`, found around answers, as its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares a set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(source: str) -> JinjaTemplate:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _TODAY.strftime
    return environment.from_string(source)


def _to_json(value: Any, *, indent: int | None = None) -> str:
    # Jinja's own filter escapes for HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> str:
    raise JinjaError(message)
