"""Ids and labels of the original, with its tokenizer.

The tokenizer is not ours to distribute: MUSTELA_LLAMA_TOKENIZER names a `tokenizer.model` or its folder.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.prompt import EncodedPrompt, Prompt, PromptEncoder, SampleTooLongError, fit_rounds
from mustela.data.templates import get_template
from mustela.data.tokenizer import load_tokenizer
from mustela.errors import RecordError
from mustela.model.tokens import add_tokens

IMAGE, REGION = "<image>", "<region_fea>"
CASES = json.loads((Path(__file__).parents[1] / "golden" / "labels.json").read_text(encoding="utf-8"))
IDS = [f"{entry['case']}-{entry['template']}" for entry in CASES]
# Where the original trained on nothing, or on a sample without an answer, ours says so.
REFUSED = {"empty_answer", "empty_answer_first_round"}
PAIR_REFUSED = {"im_start_end_region", "region_tokens_no_coor", "image_text_in_a_text_only_record"}
# A typed control string acted in the original, so its ids can't be the same.
# A caption pair loses its question with it.
LOST = {("plain", "question_has_unk_text")}
TYPED = {"answer_has_eos_text", "question_has_unk_text"}


def _messages(entry: dict[str, Any]) -> list[Message]:
    messages = []
    for turn in entry["conversations"]:
        text, parts = turn["value"], list[str | Slot]()
        if entry["has_image"] and IMAGE in text:
            parts.append(Slot.IMAGE)
            rest = text.replace(IMAGE, "").strip()
            text = f"\n{rest}" if rest else ""
        for index, piece in enumerate(text.split(REGION) if REGION in entry["extra_tokens"] else [text]):
            parts += [Slot.REGION] if index else []
            parts += [piece] if piece else []
        messages.append(Message("user" if turn["from"] == "human" else "assistant", tuple(parts)))
    return messages


def _prompt(entry: dict[str, Any]) -> Prompt:
    return get_template(entry["template"]).render(
        _messages(entry),
        image_token=IMAGE,
        region_token=REGION,
        mm_use_im_start_end=entry["mm_use_im_start_end"],
    )


def _is_refused(entry: dict[str, Any]) -> bool:
    pair = entry["template"] == "plain" and entry["case"] in PAIR_REFUSED
    return entry.get("raises", False) or entry["case"] in REFUSED or pair


@pytest.mark.parametrize("entry", CASES, ids=IDS)
def test_prompts_are_those_of_the_original(entry: dict[str, Any], parity) -> None:
    if _is_refused(entry):
        with pytest.raises(RecordError):
            _prompt(entry)
    else:
        assert _prompt(entry).text == entry["prompt"]
        parity.add("labels: prompts of conversations")


@pytest.mark.parametrize("entry", CASES, ids=IDS)
def test_ids_and_labels_are_those_of_the_original(entry: dict[str, Any], parity) -> None:
    tokenizer = _llama(tuple(entry["extra_tokens"]))
    if _is_refused(entry):
        return
    encoded = PromptEncoder(tokenizer, image_token=IMAGE, region_token=REGION).encode(_prompt(entry))
    picture = tokenizer.convert_tokens_to_ids(IMAGE)
    ids = [-200 if index == picture else index for index in encoded.input_ids]
    # A caption pair lost its long question, and fits.
    if "model_max_length" in entry and entry["template"] != "plain":
        _does_not_fit(encoded, entry["model_max_length"])
    # A text alone was cut there in the middle of its question, and trained on nothing.
    is_cut = "model_max_length" in entry and not entry["has_image"]
    if is_cut:
        assert ids[: entry["model_max_length"]] == entry["input_ids"]
        assert not entry["supervised_spans"]
        parity.add("labels: ids of conversations, with Llama's tokenizer")
    elif entry["case"] not in TYPED or (entry["template"], entry["case"]) in LOST:
        assert ids == entry["input_ids"]
        parity.add("labels: ids of conversations, with Llama's tokenizer")
    if entry["mismatch"] or entry["case"] in TYPED or is_cut:
        # The original gave these up. The answers and what ends them are supervised, and nothing else.
        answers = [encoded.prompt.text[start:end] for start, end in encoded.prompt.answers]
        told = [turn["value"] for turn in entry["conversations"] if turn["from"] == "gpt"]
        assert len(answers) == len(told)
        assert all(text in answer for text, answer in zip(told, answers, strict=True))
        for (start, end), answer in zip(encoded.answer_spans, answers, strict=True):
            assert tokenizer.decode(encoded.labels[start:end]).strip() == answer.strip()
        inside = {at for start, end in encoded.answer_spans for at in range(start, end)}
        assert all((label != IGNORE_INDEX) == (at in inside) for at, label in enumerate(encoded.labels))
        return
    labels = [IGNORE_INDEX] * len(ids)
    for start, end in entry["supervised_spans"]:
        labels[start:end] = ids[start:end]
    assert encoded.labels == labels
    parity.add("labels: labels of conversations, with Llama's tokenizer")


def _does_not_fit(encoded: EncodedPrompt, limit: int) -> None:
    """Ours refuses a sample whose first round is too long, and says by how much."""
    with pytest.raises(SampleTooLongError, match=f"needs {len(encoded.input_ids)} ids.*is {limit}"):
        fit_rounds(encoded, [1] * len(encoded.image_positions), max_length=limit)


@lru_cache
def _llama(extra: tuple[str, ...]) -> PreTrainedTokenizerFast:
    place = os.environ.get("MUSTELA_LLAMA_TOKENIZER")
    if not place:
        pytest.skip("MUSTELA_LLAMA_TOKENIZER names no Llama tokenizer.model")
    path = Path(place)
    tokenizer = load_tokenizer(path if path.is_dir() else path.parent)
    add_tokens(tokenizer, [*extra, IMAGE])
    return tokenizer
