from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from mustela.data.message import Message, Slot
from mustela.data.prompt import Prompt
from mustela.data.templates import Template, get_template, template_names
from mustela.errors import RecordError, TemplateError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "templates.json").read_text(encoding="utf-8"))
TALK = (
    Message("user", (Slot.IMAGE, "\nWhat is this?")),
    Message("assistant", ("A dog.",)),
    Message("user", ("Where is it?",)),
    Message("assistant", ("At [1, 2, 3, 4].",)),
)
BY_NAME = [(name, entry) for entry in GOLDEN["templates"] for name in entry["names"]]
TEXT_NAMES = [name for name in template_names() if name != "auto"]


def _render(template: Template, messages: tuple[Message, ...], **options: Any) -> Prompt:
    return template.render(messages, image_token="<image>", region_token="<region_fea>", **options)


@pytest.mark.parametrize(("name", "entry"), BY_NAME, ids=[name for name, _ in BY_NAME])
def test_prompts_are_those_of_the_original(name: str, entry: dict[str, Any], parity) -> None:
    template = get_template(name)
    assert _render(template, TALK).text == entry["prompt_full"]
    assert _render(template, TALK[:3], add_generation_prompt=True).text == entry["prompt_generation"]
    parity.add("templates: prompts", cases=2)


@pytest.mark.parametrize("name", TEXT_NAMES)
def test_a_template_survives_being_stored(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    template = get_template(name, tokenizer=tokenizer)
    assert Template.from_json(json.loads(json.dumps(template.to_json()))) == template


def test_aliases_are_the_same_text() -> None:
    layouts = {get_template(name).layout for name in ("v1", "ferret_v1")}
    assert len(layouts) == 1
    assert get_template("mpt").layout == get_template("chatml").layout


def test_the_caption_pair_keeps_picture_answer_and_newline() -> None:
    pair = (Message("user", ("Give a caption.\n", Slot.IMAGE)), Message("assistant", ("a man",)))
    prompt = _render(get_template("plain"), pair)
    assert prompt.text == "<image>a man\n"
    assert [prompt.text[start:end] for start, end in prompt.answers] == ["a man\n"]
    assert _render(get_template("plain"), pair[:1], add_generation_prompt=True).text == "<image>"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (TALK, "2 rounds"),
        ((Message("user", ("Hi",)), TALK[1]), "has no <image>"),
        ((Message("user", (Slot.IMAGE, Slot.REGION)), TALK[1]), "regions would be lost"),
    ],
)
def test_the_caption_pair_refuses_what_it_would_lose(messages: tuple[Message, ...], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        _render(get_template("plain"), messages)


def test_spans_name_answers_data_and_slots() -> None:
    prompt = _render(get_template("v1"), TALK)
    text = prompt.text
    assert [text[start:end] for start, end in prompt.answers] == [" A dog.</s>", " At [1, 2, 3, 4].</s>"]
    literals = [text[start:end] for start, end in prompt.literals]
    assert literals == ["\nWhat is this?", "A dog.", "Where is it?", "At [1, 2, 3, 4]."]
    assert [(text[start:end], slot) for start, end, slot in prompt.slots] == [("<image>", Slot.IMAGE)]
    assert prompt.round_ends == tuple(end for _, end in prompt.answers)


def test_start_and_end_tokens_stand_around_pictures() -> None:
    prompt = _render(get_template("v1"), TALK, mm_use_im_start_end=True)
    assert "USER: <im_start><image><im_end>\nWhat" in prompt.text
    assert [prompt.text[start:end] for start, end, _ in prompt.slots] == ["<image>"]


@pytest.mark.parametrize("name", ["v1", "llama_2", "chatml", "gemma"])
def test_a_system_text_of_the_conversation_replaces_the_template_s(name: str) -> None:
    template = get_template(name)
    own = _render(template, (Message("system", ("Be <s>brief.",)), *TALK))
    assert "Be <s>brief." in own.text
    assert _render(template, TALK).text.replace(template.layout.system, "Be <s>brief.") == own.text
    empty = _render(template, (Message("system", ("",)), *TALK)).text
    assert empty.partition("<image>")[0] in {
        "USER: ",
        "[INST] ",
        "<|im_start|>user\n",
        "<start_of_turn>user\n",
    }


def test_a_generation_needs_a_question() -> None:
    with pytest.raises(TemplateError, match="ends with a question"):
        _render(get_template("v1"), TALK, add_generation_prompt=True)


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(TemplateError, match="did you mean 'llama_3'"):
        get_template("llama3")


def test_sequence_ends_become_the_tokenizer_s(tokenizers: dict[str, PreTrainedTokenizerFast]) -> None:
    foreign = get_template("v1", tokenizer=tokenizers["pad_is_eos"])
    assert _render(foreign, TALK).text.endswith("[1, 2, 3, 4].<|endoftext|>")
    assert foreign.stop_strings == ("<|endoftext|>",)
    assert get_template("v1", tokenizer=tokenizers["legacy_llama"]) == get_template("v1")
    # This tokenizer has no beginning of sequence at all.
    assert "<s>" not in _render(get_template("llama_2", tokenizer=tokenizers["chatml"]), TALK).text


def test_generation_ends_at_stop_strings_that_are_tokens_and_at_the_end_of_sequence(
    tokenizers: dict[str, PreTrainedTokenizerFast],
) -> None:
    chatml, llama = tokenizers["chatml"], tokenizers["legacy_llama"]
    assert get_template("chatml").stop_token_ids(chatml) == (chatml.convert_tokens_to_ids("<|im_end|>"),)
    assert get_template("v0").stop_token_ids(llama) == (llama.eos_token_id,)
    assert get_template("v0").stop_strings == ("###",)


def test_a_template_of_one_s_own_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    own = {
        "name": "mine",
        "layout": {"question_before": "Q: ", "answer_before": "\nA:", "answer_end": "\n\n"},
    }
    path.write_text(json.dumps(own), encoding="utf-8")
    assert _render(get_template(str(path)), TALK[:2]).text == "Q: <image>\nWhat is this?\nA:A dog.\n\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ('{"name": "a"}', "needs the key 'layout'"),
        ('{"name": "a", "layout": {}}', "answer_end"),
        (
            '{"name": "a", "layout": {"answer_end": "x", "sep": "y"}}',
            "unknown keys in a template: \\['sep'\\]",
        ),
        ('{"name": "a", "kind": "xml", "layout": {}}', "kind 'xml'"),
        ('{"name": "a", "kind": "jinja", "layout": {}}', "needs the keys"),
    ],
)
def test_a_broken_template_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TemplateError, match=says):
        get_template(str(path))


def test_a_missing_template_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="can't be read"):
        get_template(str(tmp_path / "none.json"))
