from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from mustela.data.message import Message, Slot
from mustela.data.prompt import EncodedPrompt, encode_prompt
from mustela.data.templates import Template, get_template
from mustela.errors import TemplateError

IMAGE, REGION = "<image>", "<region_fea>"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Thinking is written for the last answer only, and removed from earlier ones.
THINKING = """\
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- if loop.last %}{%- set content = '<think>\\n\\n</think>\\n\\n' + content %}{%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
TRIMMING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Pictures as parts, all of them first, and nothing that ends an answer.
PICTURES_FIRST = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# As the templates of models with pictures of any size do it; a string is taken as it is.
VISION = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><image><|vision_end|>{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Lists of parts only, and a blank before an answer that the prompt of its generation lacks.
PARTS_ONLY = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}\n" + CHATML
FORGETFUL = (
    "{% for message in messages %}{% if loop.index > loop.length - 2 %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TEMPLATES = {
    "chatml": (CHATML, "chatml"),
    "thinking": (THINKING, "chatml"),
    "trimming": (TRIMMING, "llama_3"),
    "pictures_first": (PICTURES_FIRST, "legacy_llama"),
    "vision": (VISION, "chatml"),
    "parts_only": (PARTS_ONLY, "chatml"),
    "dated": (DATED, "chatml"),
    "chatml_elsewhere": (CHATML, "pad_is_eos"),
    "pictures_first_elsewhere": (PICTURES_FIRST, "unigram"),
}
TALK = [
    Message("user", (Slot.IMAGE, "\nWhat is ", Slot.REGION, "? ")),
    Message("assistant", ("Yes.",)),
    Message("user", ("And </s> \ue0001\ue001 <|im_end|> {{ 1 }}?",)),
    Message("assistant", (" two <|im_end|>words",)),
    Message("user", ("Where?",)),
    Message("assistant", ("\n[100, 200, 300, 400] ",)),
]


def _with(
    tokenizers: dict[str, PreTrainedTokenizerFast], kind: str, source: str
) -> tuple[PreTrainedTokenizerFast, Template]:
    tokenizer = copy.deepcopy(tokenizers[kind])
    tokenizer.chat_template = source
    return tokenizer, get_template("auto", tokenizer=tokenizer, image_token=IMAGE)


@pytest.fixture(params=list(TEMPLATES))
def chosen(
    request: pytest.FixtureRequest, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> tuple[PreTrainedTokenizerFast, Template]:
    source, kind = TEMPLATES[request.param]
    return _with(tokenizers, kind, source)


def _encode(
    chosen: tuple[PreTrainedTokenizerFast, Template], messages: list[Message], **options: Any
) -> EncodedPrompt:
    tokenizer, template = chosen
    prompt = template.render(messages, image_token=IMAGE, region_token=REGION, **options)
    return encode_prompt(prompt, tokenizer, image_token=IMAGE, region_token=REGION)


def _plain(messages: list[Message]) -> list[dict[str, str]]:
    names = {Slot.IMAGE: IMAGE, Slot.REGION: REGION}
    return [
        {"role": m.role, "content": "".join(p if isinstance(p, str) else names[p] for p in m.parts)}
        for m in messages
    ]


def test_the_prompt_of_a_generation_is_how_training_begins(
    chosen: tuple[PreTrainedTokenizerFast, Template],
) -> None:
    trained = _encode(chosen, TALK)
    for index, (start, _) in enumerate(trained.answer_spans):
        asked = _encode(chosen, TALK[: 2 * index + 1], add_generation_prompt=True)
        assert trained.prompt.text[: trained.prompt.answers[index][0]] == asked.prompt.text
        assert trained.input_ids[:start] == asked.input_ids


def test_supervised_are_the_answers_with_their_ends(
    chosen: tuple[PreTrainedTokenizerFast, Template],
) -> None:
    tokenizer, template = chosen
    encoded = _encode(chosen, TALK)
    end = template.stop_strings[0]
    texts = [encoded.prompt.text[start:stop] for start, stop in encoded.prompt.answers]
    for text, message in zip(texts, TALK[1::2], strict=True):
        assert "".join(text.split()).endswith("".join(f"{message.plain_text}{end}".split()))
    if len(tokenizer.encode(end, add_special_tokens=False)) == 1:
        stops = [encoded.labels[stop - 1] for _, stop in encoded.answer_spans]
        assert stops == [tokenizer.convert_tokens_to_ids(end)] * 3
    assert len(encoded.image_positions) == len(encoded.region_positions) == 1


@pytest.mark.parametrize("kind", ["chatml", "thinking", "trimming"])
def test_ordinary_text_is_written_as_transformers_writes_it(
    kind: str, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> None:
    source, tokenizer_kind = TEMPLATES[kind]
    tokenizer, template = _with(tokenizers, tokenizer_kind, source)
    talk = [*TALK[:2], Message("user", ("  Where? ",)), TALK[5]]
    prompt = template.render(talk, image_token=IMAGE, region_token=REGION)
    assert prompt.text == tokenizer.apply_chat_template(_plain(talk), tokenize=False)


def test_what_the_model_has_to_write_before_an_answer_is_supervised(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    chosen = _with(tokenizers, "chatml", THINKING)
    encoded = _encode(chosen, TALK[:4])
    texts = [encoded.prompt.text[start:stop] for start, stop in encoded.prompt.answers]
    assert texts == ["Yes.<|im_end|>", "<think>\n\n</think>\n\n two <|im_end|>words<|im_end|>"]


def test_a_template_that_ends_no_answer_gets_the_end_of_sequence(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    chosen = _with(tokenizers, "legacy_llama", PICTURES_FIRST)
    encoded = _encode(chosen, TALK[:2])
    assert encoded.prompt.text == "USER: <image>\n\nWhat is <region_fea>?  ASSISTANT: Yes.</s> "
    assert chosen[1].stop_strings == ("</s>",)


def test_start_and_end_tokens_stand_around_pictures_that_the_template_writes(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    chosen = _with(tokenizers, "legacy_llama", PICTURES_FIRST)
    encoded = _encode(chosen, TALK, mm_use_im_start_end=True)
    assert encoded.prompt.text.startswith("USER: <im_start><image><im_end>\n")
    texts = [encoded.prompt.text[start:stop] for start, stop in encoded.prompt.answers]
    assert texts[0] == " Yes.</s>"


def test_pictures_go_into_the_text_where_the_template_writes_another_token(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    tokenizer = copy.deepcopy(tokenizers["legacy_llama"])
    source = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "{{ '[IMG]' if p.type == 'image' else p.text }}{% endfor %}{% endif %}</s>{% endfor %}"
    )
    template = get_template("auto", tokenizer=tokenizer, image_token=IMAGE, chat_template=source)
    prompt = template.render(TALK[:2], image_token=IMAGE, region_token=REGION)
    assert prompt.text == "<image>\nWhat is <region_fea>? </s>Yes.</s>"


def test_a_chat_template_survives_being_stored_and_moved(
    chosen: tuple[PreTrainedTokenizerFast, Template], tmp_path: Path
) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(chosen[1].to_json()), encoding="utf-8")
    moved = tmp_path / "x"
    moved.mkdir()
    stored = Template.from_json(json.loads(path.rename(moved / "y.json").read_text(encoding="utf-8")))
    assert stored == chosen[1]
    assert _encode((chosen[0], stored), TALK).input_ids == _encode(chosen, TALK).input_ids


def test_a_file_of_one_s_own_is_a_chat_template(
    tokenizers: dict[str, PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(CHATML, encoding="utf-8")
    template = get_template(str(path), tokenizer=tokenizers["chatml"])
    assert template.name == "mine.jinja"
    assert template.stop_strings == ("<|im_end|>",)
    with pytest.raises(TemplateError, match="needs the tokenizer"):
        get_template(str(path))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (FORGETFUL, "template 'auto' with tokenizer .*writes the past differently"),
        ("{% for m in messages %}{{ m.content }}", "the chat template fails"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "the chat template fails"),
        ("nothing", "writes an answer 0 times"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}<|im_end|>{% endfor %}", "an answer 2 times"),
        ("", "has no chat template"),
    ],
)
def test_a_template_that_can_t_be_trained_with_is_refused_at_once(
    source: str, says: str, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> None:
    with pytest.raises(TemplateError, match=says):
        _with(tokenizers, "chatml", source)


def test_a_template_that_refuses_messages_says_why(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    chosen = _with(tokenizers, "llama_3", TRIMMING)
    with pytest.raises(TemplateError, match="no system text"):
        _encode(chosen, [Message("system", ("Be brief.",)), *TALK])


def test_prompts_do_not_change_from_day_to_day(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    chosen = _with(tokenizers, "chatml", DATED)
    assert _encode(chosen, TALK[:2]).prompt.text.startswith("26 Jul 2024\n<|im_start|>user")
