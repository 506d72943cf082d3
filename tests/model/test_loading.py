"""Loading by folder, by run and by name; parts; tokens."""

from __future__ import annotations

import json

import pytest
import torch

from mustela.data.templates import get_template
from mustela.errors import CheckpointError
from mustela.model.loading import is_mustela_model, load_model, packaged_models, resolve_model_path
from mustela.model.parts import part_of, parts
from mustela.model.tokens import add_tokens, added_tokens, control_strings, train_tokenizer


def test_a_run_folder_gives_its_final_model(classic_pair, tmp_path):
    final = tmp_path / "run" / "final"
    classic_pair.model.save_pretrained(final)
    classic_pair.processor.save_pretrained(final)
    assert resolve_model_path(tmp_path / "run") == final
    model, processor = load_model(tmp_path / "run", device="cpu")
    assert not model.training
    assert processor.settings == classic_pair.processor.settings
    batch = classic_pair.batch(classic_pair.four())
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, classic_pair.model(**batch).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_loading_in_half_precision(classic_pair, tmp_path, dtype):
    classic_pair.model.save_pretrained(tmp_path)
    classic_pair.processor.save_pretrained(tmp_path)
    model, _ = load_model(tmp_path, device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    loss = model(**classic_pair.batch(classic_pair.four())).loss
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(CheckpointError, match="no folder 'shapes-nothing', and no packaged model"):
        resolve_model_path("shapes-nothing")
    assert all(resolve_model_path(name).is_dir() for name in packaged_models())


@pytest.mark.parametrize("content", [None, {"model_type": "llava"}])
def test_a_folder_without_our_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert not is_mustela_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no mustela model: looked for a config\.json"):
        load_model(tmp_path)


def test_every_parameter_is_in_one_part(pair):
    found = parts(pair.model)
    assert {part for part, group in found.items() if not group} == {"region_tower"}  # these bases have none
    named = dict(pair.model.named_parameters())
    assert sorted(name for part in found.values() for name in part) == sorted(named)
    assert all(part_of(name) == part for part, group in found.items() for name in group)
    assert found["region_encoder"].keys() == {name for name in named if name.startswith("region_encoder.")}


def test_the_projector_of_each_base(classic_pair, qwen_pair):
    assert all("multi_modal_projector" in name for name in parts(classic_pair.model)["projector"])
    assert all("merger" in name for name in parts(qwen_pair.model)["projector"])


def test_added_tokens_are_in_the_original_order():
    tokens = added_tokens(region="<region_fea>", patch="<im_patch>", marks=("<im_start>", "<im_end>"))
    assert tokens == ["<im_patch>", "<region_fea>", "<im_start>", "<im_end>", "<image>"]
    assert added_tokens(region=None) == ["<image>"]


def test_tokens_that_are_there_are_not_added_again():
    tokenizer = train_tokenizer(["a b"], vocab_size=300, control_tokens=["<image>"], end_token="</s>")
    size = len(tokenizer)
    add_tokens(tokenizer, ["<region_fea>", "<image>"])
    add_tokens(tokenizer, ["<region_fea>", "<image>"])
    assert len(tokenizer) == size + 1
    assert tokenizer("a <region_fea> b")["input_ids"] == tokenizer("a<region_fea>b")["input_ids"]


def test_a_trained_tokenizer_gives_each_digit_a_token_and_loses_nothing():
    texts = ["It is [123, 87, 300, 4]. What is this? 12 12 12 123 123"] * 20
    tokenizer = train_tokenizer(texts, vocab_size=330, control_tokens=["<|user|>"], end_token="<|end|>")
    text = "It is [123, 87]. Ünïcode\n\ttoo, 它!"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert not any(sum(sign.isdigit() for sign in piece) > 1 for piece in pieces)
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("template", "expected"),
    [("compact", "<|assistant|>"), ("chatml", "<|im_end|>"), ("gemma", "<start_of_turn>"), ("v1", "</s>")],
)
def test_control_strings_of_templates(template, expected):
    assert expected in control_strings(get_template(template))
