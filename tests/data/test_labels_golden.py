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
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from mustela.constants import IGNORE_INDEX
from mustela.data.message import Message, Slot
from mustela.data.prompt import Prompt, PromptEncoder
from mustela.data.templates import get_template
from mustela.errors import RecordError

IMAGE, REGION = "<image>", "<region_fea>"
CASES = json.loads((Path(__file__).parents[1] / "golden" / "labels.json").read_text(encoding="utf-8"))
IDS = [f"{entry['case']}-{entry['template']}" for entry in CASES]
# Where the original trained on nothing, or on a sample without an answer, ours says so.
REFUSED = {"empty_answer", "empty_answer_first_round"}
PAIR_REFUSED = {"im_start_end_region", "region_tokens_no_coor", "image_text_in_a_text_only_record"}
# A typed control string acted in the original, so its ids can't be the same.
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
def test_prompts_are_those_of_the_original(entry: dict[str, Any]) -> None:
    if _is_refused(entry):
        with pytest.raises(RecordError):
            _prompt(entry)
    else:
        assert _prompt(entry).text == entry["prompt"]


@pytest.mark.parametrize("entry", CASES, ids=IDS)
def test_ids_and_labels_are_those_of_the_original(entry: dict[str, Any]) -> None:
    tokenizer = _llama(tuple(entry["extra_tokens"]))
    if _is_refused(entry):
        return
    encoded = PromptEncoder(tokenizer, image_token=IMAGE, region_token=REGION).encode(_prompt(entry))
    picture = tokenizer.convert_tokens_to_ids(IMAGE)
    ids = [-200 if index == picture else index for index in encoded.input_ids]
    if entry["case"] not in TYPED or (entry["template"], entry["case"]) == ("plain", "question_has_unk_text"):
        assert ids == entry["input_ids"]
    if entry["mismatch"] or entry["case"] in TYPED:
        # The original gave these up; what has to be supervised follows from the prompt.
        assert len(encoded.answer_spans) == len(encoded.prompt.answers)
        return
    labels = [IGNORE_INDEX] * len(ids)
    for start, end in entry["supervised_spans"]:
        labels[start:end] = ids[start:end]
    assert encoded.labels == labels


@lru_cache
def _llama(extra: tuple[str, ...]) -> PreTrainedTokenizerFast:
    place = os.environ.get("MUSTELA_LLAMA_TOKENIZER")
    if not place:
        pytest.skip("MUSTELA_LLAMA_TOKENIZER names no Llama tokenizer.model")
    path = Path(place)
    vocabulary, merges = _pieces(path / "tokenizer.model" if path.is_dir() else path)
    raw = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    for token in extra:
        tokenizer.add_tokens([AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True)])
    tokenizer.add_tokens([AddedToken(IMAGE, normalized=False, special=True)])
    return tokenizer


@lru_cache(maxsize=1)
def _pieces(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return pieces and merges; a merge comes the earlier, the higher its piece scores."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=str(path))
    vocabulary = {model.id_to_piece(index): index for index in range(model.get_piece_size())}
    ranked = []
    for piece, index in vocabulary.items():
        if model.is_control(index) or model.is_byte(index) or model.is_unknown(index):
            continue
        halves = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        ranked += [
            (-model.get_score(index), vocabulary[left], vocabulary[right], left, right)
            for left, right in halves
            if left in vocabulary and right in vocabulary
        ]
    return vocabulary, [(left, right) for *_, left, right in sorted(ranked)]
