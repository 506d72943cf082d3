"""Fast tokenizers made of sentencepiece models, against sentencepiece itself."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tests.convert.originals import (
    PREFIX,
    language_config,
    numbers,
    write_tokenizer,
    write_tower,
    write_weights,
)
from transformers import AutoTokenizer, CLIPImageProcessorPil, PreTrainedTokenizerFast

from mustela.data.tokenizer import load_tokenizer, sentencepiece_only
from mustela.errors import CheckpointError
from mustela.model.build import build_classic
from mustela.model.settings import ClassicSettings, RegionSettings

TEXT = (
    "the a dog cats catalogue running  ran red region regions [123, 45, 6, 999] Where is it? is iss sisi "
    "aaaa aaaaa bbb abab ababab , . ! ? ; : USER: ASSISTANT: A chat between\n a human and\n\nan AI über 狗 犬"
)
WORDS = TEXT.split(" ")
ALPHABET = " " * 6 + "\n\tabcdeisrtUSER[],.0123456789▁é狗🦡<>/"


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 14))) for _ in range(count)]


def train(**options: object) -> bytes:
    """Train a model as Llama's was: BPE, bytes for what is unknown, no normalisation, blanks kept."""
    writer = io.BytesIO()
    llama = {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
        "vocab_size": 430,
        "hard_vocab_limit": False,
    }
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(400, 1)), model_writer=writer, minloglevel=2, **(llama | options)
    )
    return writer.getvalue()


@pytest.fixture(scope="module")
def model() -> bytes:
    return train()


@pytest.fixture
def folder(tmp_path: Path, model: bytes) -> Path:
    (tmp_path / "tokenizer.model").write_bytes(model)
    return tmp_path


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, model: bytes
) -> tuple[SentencePieceProcessor, PreTrainedTokenizerFast]:
    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "tokenizer.model").write_bytes(model)
    return SentencePieceProcessor(model_proto=model), load_tokenizer(folder)


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=ALPHABET, max_size=40) | st.text(max_size=12))
def test_any_text_gets_the_ids_of_sentencepiece(
    text: str, pair: tuple[SentencePieceProcessor, PreTrainedTokenizerFast]
) -> None:
    theirs, ours = pair
    if not any(special in text for special in ("<s>", "</s>", "<unk>")) and "\0" not in text:
        assert ours(text, add_special_tokens=False).input_ids == theirs.encode(text)


def test_decoding_gives_the_text_back(pair: tuple[SentencePieceProcessor, PreTrainedTokenizerFast]) -> None:
    for text in ("Where is  it?\n", "über 狗🦡", "[12, 3]"):
        ids = pair[1](text).input_ids
        assert ids[0] == pair[1].bos_token_id
        assert pair[1].decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    "options",
    [
        {"remove_extra_whitespaces": True},
        {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
        {"add_dummy_prefix": False},
        {"byte_fallback": False},
    ],
    ids=lambda options: ", ".join(f"{key}={value}" for key, value in options.items()),
)
def test_other_settings_of_the_model_are_followed(tmp_path: Path, options: dict[str, object]) -> None:
    content = train(**options)
    (tmp_path / "tokenizer.model").write_bytes(content)
    theirs, ours = SentencePieceProcessor(model_proto=content), load_tokenizer(tmp_path)
    for text in [*sentences(60, 2), "  two  blanks  ", "ＦＵＬＬ ﬁ width", "", " ", "q🦡🦡z"]:
        assert ours(text, add_special_tokens=False).input_ids == theirs.encode(text), text


def test_added_tokens_keep_their_ids_and_swallow_the_blanks_beside_them(folder: Path) -> None:
    size = len(load_tokenizer(folder))
    (folder / "added_tokens.json").write_text(json.dumps({"<region_fea>": size, "<im_start>": size + 1}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<unk>"}}))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.unk_token_id
    alone = tokenizer("is it", add_special_tokens=False).input_ids
    glued = tokenizer("is it <region_fea>  is it", add_special_tokens=False).input_ids
    assert glued == [*alone, size, *alone]
    kept = tokenizer("is it </s>", add_special_tokens=False).input_ids
    assert kept[len(alone) :] != [tokenizer.eos_token_id]


def test_ids_survive_saving_and_loading(folder: Path, tmp_path: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<region_fea>": len(load_tokenizer(folder))}))
    made = load_tokenizer(folder)
    made.save_pretrained(tmp_path / "saved")
    assert sentencepiece_only(tmp_path / "saved") is None
    loaded = load_tokenizer(tmp_path / "saved")
    for text in [*sentences(50, 3), "a  b <region_fea> c </s> d"]:
        assert loaded(text).input_ids == made(text).input_ids


def write_files_with_a_region_token(folder: Path, model: bytes, size: int) -> None:
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "added_tokens.json").write_text(json.dumps({"<region_fea>": size}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<unk>"}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>"}))


def test_names_of_the_hub_get_the_same_tokenizer_as_folders(
    tmp_path: Path, model: bytes, pair: tuple[SentencePieceProcessor, PreTrainedTokenizerFast]
) -> None:
    place = tmp_path / "cache" / "models--some--vicuna"
    write_files_with_a_region_token(place / "snapshots" / "0123", model, len(pair[1]))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")
    named = load_tokenizer("some/vicuna", cache_dir=str(tmp_path / "cache"))
    folder = load_tokenizer(place / "snapshots" / "0123")
    assert named.get_vocab() == folder.get_vocab()
    assert named.pad_token == "<unk>"
    for text in [*sentences(30, 4), "  two  blanks", "is it <region_fea>  is it"]:
        assert named(text).input_ids == folder(text).input_ids
        if "<" not in text:
            assert named(text, add_special_tokens=False).input_ids == pair[0].encode(text)


def test_all_files_beside_the_model_are_downloaded(
    tmp_path: Path, model: bytes, pair: tuple[SentencePieceProcessor, PreTrainedTokenizerFast], monkeypatch
) -> None:
    write_files_with_a_region_token(tmp_path / "remote", model, len(pair[1]))
    (tmp_path / "cache").mkdir()

    def download(name: str, file: str, **_: object) -> str | None:
        assert name == "some/vicuna"
        if not (tmp_path / "remote" / file).is_file():
            return None
        return str(shutil.copy(tmp_path / "remote" / file, tmp_path / "cache"))

    monkeypatch.setattr("mustela.data.tokenizer.cached_file", download)
    tokenizer = load_tokenizer("some/vicuna")
    assert tokenizer.convert_tokens_to_ids("<region_fea>") == len(pair[1])
    assert tokenizer.pad_token == "<unk>"


def test_gaps_among_added_tokens_are_refused(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<region_fea>": len(load_tokenizer(folder)) + 3}))
    with pytest.raises(CheckpointError, match=r"<region_fea>.*without gaps"):
        load_tokenizer(folder)


def test_it_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mustela.data.tokenizer"):
        load_tokenizer(folder)
        load_tokenizer(folder)
    assert [record.message.count("tokenizer.json") for record in caplog.records] == [1]


def test_what_merges_cannot_express_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(train(user_defined_symbols="<mask>"))
    with pytest.raises(CheckpointError, match="user-defined"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\xff\xff nonsense")
    with pytest.raises(CheckpointError, match="not a readable sentencepiece model"):
        load_tokenizer(tmp_path)


def test_a_folder_with_a_fast_tokenizer_is_left_to_transformers(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    load_tokenizer(folder).save_pretrained(saved)
    (saved / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    assert sentencepiece_only(saved) is None
    assert load_tokenizer(saved)("a dog").input_ids == AutoTokenizer.from_pretrained(saved)("a dog").input_ids


def test_training_gets_the_same_tokenizer(tmp_path: Path) -> None:
    vicuna = tmp_path / "vicuna"
    vicuna.mkdir()
    (vicuna / "config.json").write_text(json.dumps(language_config()))
    state = {
        n: v for n, v in numbers("state", "geo").items() if n.startswith(("model.embed", "model.layers"))
    }
    rest = {name: numbers("state", "geo")[name] for name in ("model.norm.weight", "lm_head.weight")}
    write_weights(vicuna, state | rest, "safetensors")
    write_tokenizer(vicuna, region=False)
    tower = {n.removeprefix(PREFIX): v for n, v in numbers("state", "geo").items() if n.startswith(PREFIX)}
    write_tower(tmp_path / "tower", tower)
    CLIPImageProcessorPil().save_pretrained(tmp_path / "tower")
    classic = ClassicSettings(image_wh=(56, 56))
    _, processor = build_classic(
        vicuna, tmp_path / "tower", version="v1", regions=RegionSettings(encoder="geo"), classic=classic
    )
    theirs = SentencePieceProcessor(model_file=str(vicuna / "tokenizer.model"))
    for text in ("  two  blanks", "a dog\n\nUSER: [1, 23]", "🦡"):
        assert processor.tokenizer(text, add_special_tokens=False).input_ids == theirs.encode(text)


def test_llama_gets_the_ids_of_sentencepiece(parity) -> None:
    place = os.environ.get("MUSTELA_LLAMA_TOKENIZER")
    if not place:
        pytest.skip("MUSTELA_LLAMA_TOKENIZER names no Llama tokenizer.model")
    path = Path(place)
    file = path / "tokenizer.model" if path.is_dir() else path
    theirs, ours = SentencePieceProcessor(model_file=str(file)), load_tokenizer(file.parent)
    rng = random.Random(5)
    texts = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 60))) for _ in range(1500)] + sentences(500, 6)
    texts = [text for text in texts if not any(special in text for special in ("<s>", "</s>"))]
    wrong = [t for t in texts if ours(t, add_special_tokens=False).input_ids != theirs.encode(t)]
    parity.add("tokenizer: ids against sentencepiece, random text", cases=len(texts), difference=len(wrong))
    assert not wrong
