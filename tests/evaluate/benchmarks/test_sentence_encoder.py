"""The sentence encoder on a tiny model made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mustela.errors import CheckpointError
from mustela.evaluate.benchmarks.sentence_encoder import MeanEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "dog", "cat", "red", "table"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_similarities_do_not_hang_on_the_batch(folder: Path) -> None:
    first, second = ["dog", "red table", "dog", ""], ["dog", "cat", "red red red cat", "cat"]
    whole = MeanEncoder(folder).similarities(first, second)
    single = MeanEncoder(folder, batch_size=1).similarities(first[:3], second[:3])
    assert whole[0] == pytest.approx(1.0)
    assert whole[:3] == pytest.approx(single, abs=1e-5)
    assert -1 <= whole[1] < 0.999


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"(?s)--sentence_encoder .*all-MiniLM-L6-v2"):
        MeanEncoder(tmp_path / "none")
